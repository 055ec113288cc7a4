"""One process's line to Redis: a thread that listens and passes on, and begins anew when it is cut off."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event, Lock, Thread, current_thread
from typing import Any

from tenacity import RetryCallState
from tenacity.wait import wait_random_exponential

from langchain_cluster.model.hearsay import LONGEST, Hearsay, Said
from langchain_cluster.sharing.message import decode, encode

MOST_WAITING = 256  # things to say; the oldest is dropped for a newer one
MOST_A_SECOND = 500  # messages that are read; more is noise, and would cost the calls their processor
MOST_KEPT = 1000  # messages that are read from what was said before
BEAT = 1.0  # seconds of silence after which the server is asked whether it is there
LOST = 2.0  # seconds of silence after which it is taken for gone
PAUSE = wait_random_exponential(multiplier=0.1, max=5.0)  # full jitter (Brooker 2015), seconds
_MOST_TEXT = 200

# What is kept is its end, by the server's clock, and the message. The hash goes when nothing was said for
# so long that nothing in it can hold.
_SAY = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HLEN', KEYS[1]) > 1000 then redis.call('DEL', KEYS[1]) end
if ARGV[3] == '0' then redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + ARGV[3]) .. ' ' .. ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return redis.call('PUBLISH', KEYS[2], ARGV[2])
"""
_LATELY = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local space = string.find(all[i + 1], ' ', 1, true)
  local ends = space and tonumber(string.sub(all[i + 1], 1, space - 1))
  if not ends or ends <= now then redis.call('HDEL', KEYS[1], all[i])
  elseif #found < 2 * tonumber(ARGV[1]) then
    found[#found + 1] = string.format('%.0f', ends - now)
    found[#found + 1] = string.sub(all[i + 1], space + 1)
  end
end
return found
"""


class Line:
    """A `Channel`.

    Args:
        connect: makes a client.
        name: of the hash; the channel is named after it.
        sender: who we are: what comes from there is our own.
        hear, lost, restored: see `Sharing.join`.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        name: str,
        *,
        sender: str,
        hear: Callable[[Hearsay], None],
        lost: Callable[[str], None],
        restored: Callable[[], None],
    ) -> None:
        self._connect, self._hash, self._channel = connect, name, f"{name}:news"
        self._sender, self._hear = sender, hear
        self._lost, self._restored = lost, restored
        self._lock = Lock()
        self._waiting: dict[tuple[str, Said], tuple[Hearsay, float]] = {}  # and when it ends
        self._second, self._heard = 0, 0  # the present second, and messages read in it
        self._up = True  # until it is known to be otherwise
        self._stop = Event()
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._thread = Thread(target=self._run, name="langchain-cluster-sharing", daemon=True)
        self._thread.start()

    # -- saying -------------------------------------------------------------------------------------

    def say(self, said: Hearsay) -> None:
        """Have it sent. Only the newest of a kind about an endpoint waits, when the line is down."""
        said = replace(said, sender=self._sender)
        key = (said.endpoint, Said.OPEN if said.said is Said.CLOSED else said.said)
        with self._lock:
            self._waiting.pop(key, None)
            self._waiting[key] = (said, time.monotonic() + (said.seconds or LONGEST))
            if len(self._waiting) > MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
        self._ring()

    def _ring(self) -> None:
        try:
            self._bell.send(b"x")
        except OSError:
            pass  # it has been rung often enough, or nobody is there any more

    def _send(self, client: Any) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    return
                key = next(iter(self._waiting))
                said, until = self._waiting[key]
            left = until - time.monotonic()
            if said.said is not Said.CLOSED:
                said = replace(said, seconds=min(left, LONGEST))
            raw = encode(said) if left > 0 else None
            if raw is not None:
                field = f"{key[1].value} {said.place} {said.endpoint}"
                keep = 0 if said.said is Said.CLOSED else max(1, int(said.seconds * 1000))
                client.eval(_SAY, 2, self._hash, self._channel, field, raw, keep, int(LONGEST * 1000))
            with self._lock:  # sent; unless there is something newer by now
                if self._waiting.get(key, (None, 0.0))[1] == until:
                    del self._waiting[key]

    # -- hearing ------------------------------------------------------------------------------------

    def _run(self) -> None:
        tries = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # only counts for `PAUSE`
        while not self._stop.is_set():
            client = line = None
            try:
                client = self._connect()
                line = client.connection_pool.make_connection()
                line.connect()
                line.send_command("SUBSCRIBE", self._channel)
                line.read_response()
                self._lately(client)
                tries.attempt_number = 1
                if not self._up:
                    self._up = True
                    self._restored()
                self._listen(client, line)
            except Exception as error:  # whatever it was: the line is lost, and is laid anew
                if self._up and not self._stop.is_set():
                    self._up = False
                    self._lost(_without_password(error, client))
            finally:
                _disconnect(client, line)
            if not self._stop.is_set():
                self._stop.wait(PAUSE(tries))
                tries.attempt_number = min(tries.attempt_number + 1, 30)

    def _lately(self, client: Any) -> None:
        found = client.eval(_LATELY, 1, self._hash, MOST_KEPT)
        for left, raw in zip(found[::2], found[1::2], strict=False):
            said = decode(raw)
            if said is not None and said.sender != self._sender:
                seconds = min(said.seconds, max(0, int(left)) / 1000)
                if seconds > 0:
                    self._hear(replace(said, seconds=seconds))

    def _listen(self, client: Any, line: Any) -> None:
        heard = time.monotonic()
        while not self._stop.is_set():
            self._send(client)
            ready, _, _ = select.select([self._ear, line._sock], [], [], BEAT)
            now = time.monotonic()
            if self._ear in ready:
                self._ear.recv(4096)
            if line._sock in ready:
                heard = now
                while not self._stop.is_set() and line.can_read(timeout=0):
                    self._read(line.read_response(disable_decoding=True))
            elif now - heard > LOST:
                raise ConnectionError("it says nothing any more")
            elif now - heard >= BEAT:
                line.send_command("PING")

    def _read(self, told: Any) -> None:
        if not isinstance(told, list) or len(told) != 3 or told[0] != b"message":
            return
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._heard = second, 0
        self._heard += 1
        if self._heard > MOST_A_SECOND:
            return
        said = decode(told[2])
        if said is not None and said.sender != self._sender:
            self._hear(said)

    # -- its end ------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the thread and the connections: at once, or when an answer that is waited for has timed out."""
        self._stop.set()
        self._ring()
        if self._thread is not current_thread():
            self._thread.join()
            self._bell.close()
            self._ear.close()

    def __repr__(self) -> str:
        state = "closed" if self._stop.is_set() else "up" if self._up else "cut off"
        return f"<Line {state}, {len(self._waiting)} to say>"


def _without_password(error: Exception, client: Any) -> str:
    text = f"{type(error).__name__}: {error}"
    settings = {} if client is None else client.connection_pool.connection_kwargs
    password = settings.get("password")
    return (text.replace(str(password), "***") if password else text)[:_MOST_TEXT]


def _disconnect(client: Any, line: Any) -> None:
    try:
        if line is not None:
            line.disconnect()
        if client is not None:
            client.close()
    except Exception:
        pass  # it is being thrown away
