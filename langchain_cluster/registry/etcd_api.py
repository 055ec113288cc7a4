"""What is said to etcd: version 3 through its JSON gateway, keys and values in base64, a token if need be.

https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import orjson

from langchain_cluster.errors import DiscoveryError
from langchain_cluster.registry.secret import Secret
from langchain_cluster.registry.servers import Servers
from langchain_cluster.registry.text import printable
from langchain_cluster.registry.wire import Answer, Ask, Listen, Steps

_OLD_TOKEN = ("invalid auth token", "revision in header is old", "user name is empty")


class EtcdApi:
    """Requests of the v3 API; each method is steps for a `Wire`.

    Args:
        source: the name in errors.
        servers: asked in turn.
        user: name of the user; None where etcd asks for none.
        password: of that user, read anew for every token.
        timeout: seconds a server may take.
    """

    def __init__(
        self, source: str, servers: Servers, *, user: Secret, password: Secret, timeout: float
    ) -> None:
        self.source, self.servers, self.timeout = source, servers, timeout
        self._user, self._password = user, password
        self._token: str | None = None

    def call(self, path: str, said: dict[str, Any]) -> Steps[dict[str, Any]]:
        """One request and its answer.

        Raises:
            DiscoveryError: no server answered, or the answer is a refusal or nonsense.
        """
        answer = yield from self._authorized(lambda url, headers: self._ask(url, path, said, headers))
        return self._read(answer)

    def listen(self, path: str, said: dict[str, Any], enough: Any, seconds: float) -> Steps[list[Any]]:
        """The lines of an answer that does not end, up to the first that is `enough`, or for `seconds`."""
        answer = yield from self._authorized(
            lambda url, headers: Listen(
                self._ask(url, path, said, headers), lambda line: enough(_json(line)), seconds
            )
        )
        if answer.status != 200:
            self._read(answer)
        lines = (_json(line) for line in answer.body.split(b"\n"))
        return [line for line in lines if line is not None]

    def _authorized(self, make: Any) -> Steps[Answer]:
        for again in (True, False):
            headers = yield from self._headers()
            _, answer = yield from self.servers.ask(self.source, lambda url, h=headers: make(url, h))  # type: ignore[misc]
            refused = answer.status in (400, 401, 403) and any(
                sign.encode() in answer.body for sign in _OLD_TOKEN
            )
            if not (again and refused and headers):
                break
            self._token = None
        return answer

    def _headers(self) -> Steps[dict[str, str]]:
        name = self._user.read()
        if name is None:
            return {}
        if self._token is None:
            said = {"name": name, "password": self._password.read() or ""}
            _, answer = yield from self.servers.ask(
                self.source, lambda url: self._ask(url, "/v3/auth/authenticate", said, {})
            )
            if answer.status != 200:
                raise DiscoveryError(self.source, f"its user or password is refused ({answer.status})")
            self._token = str(self._read(answer).get("token", ""))
        return {"Authorization": self._token}

    def _ask(self, url: str, path: str, said: dict[str, Any], headers: dict[str, str]) -> Ask:
        return Ask("POST", url + path, (), headers, orjson.dumps(said), self.timeout)

    def _read(self, answer: Answer) -> dict[str, Any]:
        read = _json(answer.body.split(b"\n", 1)[0])
        if answer.status != 200 or read is None:
            said = answer.body.decode("utf-8", "replace") if read is None else read.get("error") or read
            if isinstance(said, dict):
                said = said.get("message", said)
            raise DiscoveryError(self.source, f"etcd answered {answer.status}: {printable(said)}")
        return read


def _json(line: bytes) -> dict[str, Any] | None:
    """The object in `line`; None for anything else, such as half a line."""
    try:
        read = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return read if isinstance(read, dict) else None


def coded(text: str | bytes) -> str:
    """As a key or a value travels."""
    return b64encode(text.encode() if isinstance(text, str) else text).decode()


def decoded(text: Any) -> bytes:
    """The bytes of a key or a value; none for what is no base64."""
    try:
        return b64decode(text, validate=True)
    except (TypeError, ValueError):
        return b""


def behind(prefix: str) -> bytes:
    """The first key that does not begin with `prefix`: its last byte plus one, as etcd asks for."""
    raw = prefix.encode().rstrip(b"\xff")
    return raw[:-1] + bytes([raw[-1] + 1])
