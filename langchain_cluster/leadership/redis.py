"""One holder per fleet by a lease in Redis or Valkey, and a place where the holder publishes.

The lease is a key with an end (SET NX PX) that holds a random mark; only who knows the mark renews it
or gives it back, in a script, so that a holder that comes back too late harms nobody. Each term takes
the next number of a counter. One Redis that loses what it knew may let two holders be for the length
of a lease, and begins to count anew: good enough for work that is wasted when done twice, and what a
consensus (Consul, etcd) is for where it is not.
"""

from __future__ import annotations

import secrets
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need
from langchain_cluster.model.term import Term

_TAKE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('INCR', KEYS[2]) end
return 0
"""
_RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_POST = """
local last = tonumber(redis.call('HGET', KEYS[1], 'token'))
if last and last > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'text', ARGV[2], 'keep', ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
"""
_READ = """
local found = redis.call('HMGET', KEYS[1], 'text', 'keep')
if not found[1] then return false end
return {found[1], tonumber(found[2]) - redis.call('PTTL', KEYS[1])}
"""
_MOST = 200  # characters of an error's text


class RedisLeadership:
    """A `Leadership` and a `Noticeboard` in one Redis or Valkey server.

    It keeps nothing but a connection: the term is the caller's. A Redis that cannot be asked is no
    error: nobody is made the holder, and who is one stays it until its lease ends. `trouble` says why.

    Args:
        url: `redis://`, `rediss://` or `unix://`, of one server.
        name: of the fleet. Who uses another name is another fleet.
        lease: seconds a term lasts unless it is renewed. As long as it takes, at most, until somebody
            takes over from a holder that was killed.
        timeout: seconds to connect, and for each answer.

    Raises:
        ConfigError: one of them cannot be meant. ImportError: redis is not installed.
    """

    def __init__(
        self, url: str, *, name: str = "langchain-cluster", lease: float = 30.0, timeout: float = 0.5
    ) -> None:
        lengths: tuple[tuple[str, Any], ...] = (("lease", lease), ("timeout", timeout))
        for key, given in lengths:
            if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < float("inf"):
                raise ConfigError(f"{given!r} is not a number of seconds > 0", key=f"RedisLeadership.{key}")
        if not _is_name(name):
            raise ConfigError(f"{name!r} is not a name (a text without braces)", key="RedisLeadership.name")
        library = need("redis", extra="redis", for_="RedisLeadership")
        retry = need("redis.retry", extra="redis", for_="RedisLeadership")
        backoff = need("redis.backoff", extra="redis", for_="RedisLeadership")
        self.name, self.lease, self.timeout = name, float(lease), float(timeout)
        self.trouble: str | None = None
        self._url = url
        self._failures: tuple[type[Exception], ...] = (library.exceptions.RedisError, OSError)
        self._settings: dict[str, Any] = {
            "socket_connect_timeout": self.timeout,
            "socket_timeout": self.timeout,
            "decode_responses": True,
            "encoding_errors": "replace",
        }
        once = retry.Retry(backoff.NoBackoff(), 0)  # the next look is the next try
        try:
            self._client: Any = library.Redis.from_url(url, retry=once, **self._settings)
        except Exception:  # its text shows the address, and the password in it
            raise ConfigError(
                "is not an address such as 'redis://10.0.0.9:6379/0' (it is not shown, in case there is a "
                "password in it)",
                key="RedisLeadership.url",
            ) from None

    # -- Leadership ---------------------------------------------------------------------------------

    def acquire(self, now: float) -> Term | None:
        """A new term; None when somebody has one, or Redis cannot be asked."""
        mark = secrets.token_hex(16)
        return self._taken(self._ask(_TAKE, ("leader", "term"), mark, _ms(self.lease)), mark, now)

    def renew(self, term: Term, now: float) -> Term | None:
        """The term with a later end; itself when Redis cannot be asked; None when it has ended."""
        return self._renewed(self._ask(_RENEW, ("leader",), term.mark, _ms(self.lease)), term, now)

    def release(self, term: Term) -> None:
        """End the term. Without Redis it ends by itself."""
        self._ask(_RELEASE, ("leader",), term.mark)

    async def aacquire(self, now: float) -> Term | None:
        """The asyncio twin of `acquire`."""
        mark = secrets.token_hex(16)
        return self._taken(await self._aask(_TAKE, ("leader", "term"), mark, _ms(self.lease)), mark, now)

    async def arenew(self, term: Term, now: float) -> Term | None:
        """The asyncio twin of `renew`."""
        return self._renewed(await self._aask(_RENEW, ("leader",), term.mark, _ms(self.lease)), term, now)

    async def arelease(self, term: Term) -> None:
        """The asyncio twin of `release`."""
        await self._aask(_RELEASE, ("leader",), term.mark)

    def _taken(self, token: Any, mark: str, now: float) -> Term | None:
        return Term(int(token), now + self.lease, mark) if token else None

    def _renewed(self, answer: Any, term: Term, now: float) -> Term | None:
        if answer is None:
            return term if now < term.until else None
        return Term(term.token, now + self.lease, term.mark) if answer else None

    # -- Noticeboard --------------------------------------------------------------------------------

    def post(self, term: Term, name: str, text: str, keep: float) -> bool:
        """Publish `text` for `keep` seconds; False when a later term has written there, or without Redis."""
        return bool(self._ask(_POST, (f"notice:{name}",), term.token, text, _ms(keep)))

    def read(self, name: str) -> tuple[str, float] | None:
        """The text and its age in seconds; None when there is none."""
        return _notice(self._ask(_READ, (f"notice:{name}",)))

    async def apost(self, term: Term, name: str, text: str, keep: float) -> bool:
        """The asyncio twin of `post`."""
        return bool(await self._aask(_POST, (f"notice:{name}",), term.token, text, _ms(keep)))

    async def aread(self, name: str) -> tuple[str, float] | None:
        """The asyncio twin of `read`."""
        return _notice(await self._aask(_READ, (f"notice:{name}",)))

    # -- the wire -----------------------------------------------------------------------------------

    def _ask(self, script: str, keys: tuple[str, ...], *arguments: Any) -> Any:
        """What the script answers; None when Redis does not."""
        try:
            answer = self._client.eval(script, len(keys), *map(self._key, keys), *arguments)
        except self._failures as error:
            return self._failed(error)
        self.trouble = None
        return answer

    async def _aask(self, script: str, keys: tuple[str, ...], *arguments: Any) -> Any:
        # A client belongs to its event loop, and checks are made from whatever loop there is.
        library = need("redis.asyncio", extra="redis", for_="RedisLeadership")
        retry = need("redis.asyncio.retry", extra="redis", for_="RedisLeadership")
        backoff = need("redis.backoff", extra="redis", for_="RedisLeadership")
        once = retry.Retry(backoff.NoBackoff(), 0)
        try:
            async with library.Redis.from_url(self._url, retry=once, **self._settings) as client:
                answer = await client.eval(script, len(keys), *map(self._key, keys), *arguments)
        except self._failures as error:
            return self._failed(error)
        self.trouble = None
        return answer

    def _failed(self, error: Exception) -> None:
        self.trouble = f"Redis cannot be asked: {str(error) or type(error).__name__}"[:_MOST]

    def _key(self, part: str) -> str:
        return f"langchain-cluster:{{{self.name}}}:{part}"  # braces: one slot, where slots are

    def close(self) -> None:
        """Close the connection; whoever asks again opens a new one."""
        self._client.close()

    def __repr__(self) -> str:
        return f"RedisLeadership(name={self.name!r}, lease={self.lease:g})"


def _is_name(given: Any) -> bool:
    return isinstance(given, str) and bool(given) and not set(given) & set("{}")


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _notice(answer: Any) -> tuple[str, float] | None:
    return None if answer is None else (str(answer[0]), max(0.0, float(answer[1]) / 1000))
