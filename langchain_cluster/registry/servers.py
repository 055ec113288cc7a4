"""Which of several servers of a registry is asked: the one that answered last, then the others in turn."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.registry.text import printable
from langchain_cluster.registry.wire import NETWORK, Answer, Ask, Listen, Steps


class Servers:
    """Base urls without a slash at the end, in the order in which they are to be asked.

    Raises:
        ConfigError: none, or one that is no http(s) url without a user in it.
    """

    def __init__(self, given: str | Iterable[str], *, key: str, port: int) -> None:
        texts = [given] if isinstance(given, str) else list(given)
        if not texts:
            raise ConfigError("the list is empty: give at least one url", key=key)
        self._urls = [_url(text, key, port) for text in texts]
        self._first = 0

    def __iter__(self) -> Iterator[str]:
        first = self._first
        return iter(self._urls[first:] + self._urls[:first])

    def __len__(self) -> int:
        return len(self._urls)

    def ask(self, source: str, make: Callable[[str], Ask | Listen]) -> Steps[tuple[str, Answer]]:
        """Who answered, and what: the first whose answer is no server error.

        Raises:
            DiscoveryError: nobody's was.
        """
        reasons = []
        for url in self:
            try:
                answer = yield make(url)
            except NETWORK as error:
                reasons.append(f"{url}: {_why(error)}")
                continue
            if answer.status >= 500:
                said = printable(answer.body.decode("utf-8", "replace").strip())
                reasons.append(f"{url}: {answer.status}: {said}")
                continue
            self._first = self._urls.index(url)
            return url, answer
        raise DiscoveryError(source, "; ".join(reasons))

    def __repr__(self) -> str:
        return ", ".join(self._urls)


def _why(error: BaseException) -> str:
    """What went wrong on the way there; of a certificate that is refused, what to do about it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({printable(cause.verify_message)}): `ca` says whose are"
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {printable(error)}"


def _url(text: object, key: str, port: int) -> str:
    shape = f"is not an address such as 'http://127.0.0.1:{port}'"
    if not isinstance(text, str):
        raise ConfigError(f"{text!r} {shape}", key=key)
    whole = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(whole)
        host, given_port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(f"one of them {shape}", key=key) from None
    if "@" in parts.netloc:
        raise ConfigError("has a user or a password in it: secrets come from variables or files", key=key)
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or " " in whole:
        raise ConfigError(f"{text!r} {shape}", key=key)
    netloc = parts.netloc if given_port is not None else f"{parts.netloc}:{port}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}"
