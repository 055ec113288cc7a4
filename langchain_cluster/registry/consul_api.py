"""What is said to Consul: py-consul words the requests and reads the answers, and never opens a connection.

Its own connections cannot be interrupted, and its asyncio flavour is another library. So each of its
methods gives back the request as a value, with the function that reads the answer, and `Wire`
performs it in either colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from langchain_cluster.errors import DiscoveryError
from langchain_cluster.extras import need
from langchain_cluster.registry.secret import Secret
from langchain_cluster.registry.servers import Servers
from langchain_cluster.registry.text import printable
from langchain_cluster.registry.wire import Answer, Ask, Steps


@dataclass(frozen=True, slots=True)
class Said:
    """A request without the agent it goes to, and how its answer is read."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    content: bytes
    read: Callable[[Any], Any] = field(repr=False)


class _Values:
    """Stands where py-consul has its HTTP client."""

    def get(self, callback: Callable[[Any], Any], path: str, params: Any = None, **_: Any) -> Said:
        return _said("GET", callback, path, params, "")

    def put(
        self, callback: Callable[[Any], Any], path: str, params: Any = None, data: Any = "", **_: Any
    ) -> Said:
        return _said("PUT", callback, path, params, data)


def _said(method: str, callback: Callable[[Any], Any], path: str, params: Any, data: str | bytes) -> Said:
    content = data.encode() if isinstance(data, str) else data
    texts = tuple((name, str(value)) for name, value in (params or ()))
    return Said(method, path, texts, content, callback)


class ConsulApi:
    """py-consul's `health`, `agent`, `session` and `kv`: their methods answer a `Said`, for `perform`.

    Args:
        source: the name in errors.
        servers: agents; `perform` asks them in turn.
        token: read anew for every request.
        params: what every request says beside its own: `ns`, `partition`, `dc`.
        timeout: seconds an agent may take, beside what it was told to wait.

    Raises:
        ImportError: py-consul is not installed; the text has the command.
    """

    token = None  # what py-consul would send; ours goes into a header, read anew each time
    dc = None
    scheme = "http"
    consistency = "default"

    def __init__(
        self, source: str, servers: Servers, *, token: Secret, params: Mapping[str, str], timeout: float
    ) -> None:
        self._base = need("consul.base", extra="consul", for_=source)
        self._errors = need("consul", extra="consul", for_=source).ConsulException
        api = need("consul.api", extra="consul", for_=source).__name__
        self.source, self.servers = source, servers
        self._token, self._params, self.timeout = token, tuple(params.items()), timeout
        self.http = _Values()
        self.health: Any = need(f"{api}.health", extra="consul", for_=source).Health(self)
        self.agent: Any = need(f"{api}.agent", extra="consul", for_=source).Agent(self)
        self.session: Any = need(f"{api}.session", extra="consul", for_=source).Session(self)
        self.kv: Any = need(f"{api}.kv", extra="consul", for_=source).KV(self)

    def prepare_headers(self, token: str | None = None) -> dict[str, str]:
        """What py-consul asks of its client."""
        return {}

    def perform(
        self, said: Callable[[str], Said], *, waits: float = 0.0, params: tuple[tuple[str, str], ...] = ()
    ) -> Steps[tuple[str, Answer, Any]]:
        """Who answered, the answer, and what py-consul reads in it.

        said: the request, for the agent at a url. waits: seconds the agent was told to wait.

        Raises:
            DiscoveryError: no agent answered, or the answer is a refusal or nonsense.
        """
        secret = self._token.read()
        headers = {} if secret is None else {"X-Consul-Token": secret}
        asked: dict[str, Said] = {}

        def make(url: str) -> Ask:
            asked[url] = what = said(url)
            return Ask(
                what.method,
                url + quote(what.path, safe="/:"),
                what.params + self._params + params,
                headers,
                what.content or None,
                self.timeout + waits * 17 / 16,  # Consul adds up to a sixteenth
            )

        url, answer = yield from self.servers.ask(self.source, make)
        body = answer.body.decode("utf-8", "replace")
        try:
            read = asked[url].read(self._base.Response(answer.status, answer.headers, body))
        except self._errors as error:
            reason = f"{type(error).__name__}: {printable(error)}"
            raise DiscoveryError(self.source, f"{url}: {reason}") from None
        return url, answer, read

    def one(self, said: Said) -> Steps[Any]:
        """What py-consul reads in the answer to `said`."""
        _, _, read = yield from self.perform(lambda _: said)
        return read
