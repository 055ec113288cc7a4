"""The minute that processes share, as a script for Redis: look, and take what fits everywhere or nowhere.

A scope is a hash: what was taken in each quarter of a second (`r<n>` calls, `t<n>` tokens), the sums (`r`,
`t`), and the first and the last such quarter (`first`, `last`). A quarter leaves when it is over for a whole
minute: what was taken is missing for 60 to 60.25 seconds. The time is the server's, so that nobody's clock
matters; one that goes back waits for itself, for a minute at most.

KEYS: the processes seen lately; since when this store counts; the scopes; the scopes of each correction.
ARGV: milliseconds or '' for the server's time; who asks; how many scopes; tokens; for each scope calls and
tokens a minute (-1: no limit); for each correction a quarter, calls, tokens. What is below zero is given
back to that quarter, if that has not left; what is above is taken now.

Answers {1, 0, 0, quarter, processes, age} or {0, milliseconds (-1: never), place, quarter, processes, age};
`place` is 2 * the number of the scope, and 1 more when it is for tokens.
"""

from __future__ import annotations

SCRIPT = """
local now
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
else
  now = tonumber(ARGV[1])
end
local GRAIN, MINUTE = 250, 241
local count, tokens = tonumber(ARGV[3]), tonumber(ARGV[4])
local here = math.floor(now / GRAIN)

redis.call('ZADD', KEYS[1], now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
redis.call('PEXPIRE', KEYS[1], 120000)
local processes = redis.call('ZCARD', KEYS[1])
local since = tonumber(redis.call('GET', KEYS[2]))
if not since or since > now then since = now end
redis.call('SET', KEYS[2], string.format('%.0f', since), 'PX', 86400000)
local age = now - since

local function open(key)
  local head = redis.call('HMGET', key, 'first', 'last', 'r', 't')
  local s = {key = key, first = tonumber(head[1]), last = tonumber(head[2]), at = here,
             r = tonumber(head[3]) or 0, t = tonumber(head[4]) or 0}
  if not s.first then return s end
  if s.last > here + MINUTE then
    redis.call('DEL', key)
    s.first, s.r, s.t = nil, 0, 0
    return s
  end
  if s.last > here then s.at = s.last end
  local gone = s.at - MINUTE
  if gone >= s.last then
    redis.call('DEL', key)
    s.first, s.r, s.t = nil, 0, 0
    return s
  end
  if s.first > gone then return s end
  for n = s.first, gone do
    local old = redis.call('HMGET', key, 'r' .. n, 't' .. n)
    if old[1] or old[2] then
      s.r = s.r - (tonumber(old[1]) or 0)
      s.t = s.t - (tonumber(old[2]) or 0)
      redis.call('HDEL', key, 'r' .. n, 't' .. n)
    end
  end
  s.first = gone + 1
  redis.call('HSET', key, 'first', s.first, 'r', s.r, 't', s.t)
  return s
end

local function take(s, calls, amount)
  if not s.first then s.first = s.at end
  s.last = s.at
  s.r, s.t = s.r + calls, s.t + amount
  redis.call('HINCRBY', s.key, 'r' .. s.at, calls)
  redis.call('HINCRBY', s.key, 't' .. s.at, amount)
  redis.call('HSET', s.key, 'first', s.first, 'last', s.last, 'r', s.r, 't', s.t)
  redis.call('PEXPIRE', s.key, 125000)
end

local function give(s, n, name, amount)
  local there = tonumber(redis.call('HGET', s.key, name .. n))
  if not there then return end
  if amount > there then amount = there end
  s[name] = s[name] - amount
  redis.call('HINCRBY', s.key, name .. n, -amount)
  redis.call('HSET', s.key, name, s[name])
end

local argument = 5 + 2 * count
for i = 3 + count, #KEYS do
  local s = open(KEYS[i])
  local n, calls = tonumber(ARGV[argument]), tonumber(ARGV[argument + 1])
  local amount = tonumber(ARGV[argument + 2])
  argument = argument + 3
  if calls < 0 then give(s, n, 'r', -calls) end
  if amount < 0 then give(s, n, 't', -amount) end
  if calls > 0 or amount > 0 then take(s, math.max(calls, 0), math.max(amount, 0)) end
end

local function wait(s, name, amount, limit)
  if limit < 0 then return 0 end
  if limit == 0 then return -1 end
  local over = s[name] + math.min(amount, limit) - limit
  if over <= 0 then return 0 end
  for n = s.first, s.last do
    over = over - (tonumber(redis.call('HGET', s.key, name .. n)) or 0)
    if over <= 0 then return math.max(1, (n + MINUTE) * GRAIN - now) end
  end
  return math.max(1, (s.last + MINUTE) * GRAIN - now)
end

local scopes, longest, place = {}, 0, 0
for i = 1, count do
  local s = open(KEYS[2 + i])
  scopes[i] = s
  for j, name in ipairs({'r', 't'}) do
    local amount = 1
    if name == 't' then amount = tokens end
    local ms = wait(s, name, amount, tonumber(ARGV[3 + 2 * i + j - 1]))
    if ms == -1 then return {0, -1, 2 * (i - 1) + j - 1, here, processes, age} end
    if ms > longest then longest, place = ms, 2 * (i - 1) + j - 1 end
  end
end
if longest > 0 then return {0, longest, place, here, processes, age} end
local quarter = here
for i = 1, count do
  take(scopes[i], 1, tokens)
  if scopes[i].at > quarter then quarter = scopes[i].at end
end
return {1, 0, 0, quarter, processes, age}
"""
