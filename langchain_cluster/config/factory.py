"""From a discovered endpoint to a chat model: by a template, within an allow-list, made when it is asked.

A registry says where an endpoint is and what it calls itself. How it is talked to, which credential it
gets, and whether it gets one at all, is the user's word alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from langchain_cluster.config.endpoint import EndpointConfig
from langchain_cluster.config.models import chat_model, vectors_model
from langchain_cluster.config.secrets import variable
from langchain_cluster.config.watched import is_watched, library_of, place_problem, watched
from langchain_cluster.endpoints.allow import AllowList
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.address import url_problem
from langchain_cluster.model.deferred import Deferred
from langchain_cluster.model.endpoint import Endpoint, Rejected, Role
from langchain_cluster.registry.text import CONTROL, printable

if TYPE_CHECKING:
    from langchain_cluster.endpoints.connections import Connections

MOST_CHARACTERS = 64 * 1024  # of an endpoint's id, url, tags and metadata together
LONGEST_ID = 256
_HOLE = re.compile(r"\{([^{}]*)\}")
_NOT_IN_A_HOST = set("/?#@\\ ")


@dataclass(frozen=True, slots=True)
class _Place:
    """What a model is made of, and so what makes two endpoints' models the same one."""

    id: str
    model: str
    url: str | None
    vectors: bool


class EndpointFactory:
    """Makes the models of discovered endpoints.

    `{name}` in a template is the endpoint's `id`, `url`, `zone` or `tier`, or what its metadata has under
    that name, such as `address`, `port` and `model`.

    Args:
        model: template of `provider:model-name`; the provider is yours to say, not the registry's.
        base_url: template of the address; the endpoint's own url if None.
        api_key_env: environment variable with the API key; None for servers that want none.
        allow: hosts an endpoint may have ("10.0.0.0/8", "*.internal", "https://*.example.com"); any if None,
            which is only possible without a credential. Link-local and metadata addresses never.
        params: further arguments of the chat model; keys that end in `_env` name variables.

    Raises:
        ConfigError: a template that cannot be, a credential that anybody could get, a variable that is not
            set, something in `allow` that is no host or network.
    """

    def __init__(
        self,
        model: str = "openai:{model}",
        base_url: str | None = None,
        api_key_env: str | None = None,
        allow: Iterable[str] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        provider, colon, name = model.partition(":")
        if not colon or not provider.strip() or not name.strip() or "{" in provider:
            raise ConfigError(
                f"{model!r} is not provider:model-name, such as 'openai:{{model}}'", key="factory.model"
            )
        if allow is None and (api_key_env is not None or _has_variables(params)):
            raise ConfigError(
                "a credential is only given to hosts that are named: say which, such as ['10.0.0.0/8', "
                "'*.internal']",
                key="factory.allow",
            )
        if api_key_env is not None:
            variable(api_key_env, "factory.api_key_env")
        _holes(model, "factory.model")
        _holes(base_url or "", "factory.base_url")
        EndpointConfig(
            id="-", model=_HOLE.sub("-", model), api_key_env=api_key_env, params=dict(params or {})
        )
        self._model, self._base_url, self._key = model, base_url, api_key_env
        self._allow = None if allow is None else AllowList(allow)
        self._params = dict(params or {})
        self._lock, self._making = Lock(), Lock()
        self._made: dict[_Place, Deferred] = {}
        self._connections: dict[_Place, Connections] = {}

    def attach(self, endpoint: Endpoint) -> Endpoint | Rejected:
        """The endpoint with its model, made when it is first asked; or why it cannot have one.

        The same model for the same description: an endpoint that is told of anew keeps its connections.
        """
        problem = _shape_problem(endpoint) or (endpoint.url and url_problem(endpoint.url))
        if problem:
            return Rejected(printable(endpoint.id), problem)
        if Role.RETRIEVAL in endpoint.roles:
            return Rejected(endpoint.id, "a retriever cannot be made from a template")
        try:
            values = _values(endpoint)
            model = _filled(self._model, values)
            url = endpoint.url if self._base_url is None else _address(self._base_url, values)
        except KeyError as missing:
            return Rejected(endpoint.id, f"its metadata has no {missing.args[0]!r}")
        except ValueError as error:
            return Rejected(endpoint.id, str(error))
        problem = self._problem(endpoint.url, url, model)
        if problem is not None:
            return Rejected(endpoint.id, problem)
        place = _Place(endpoint.id, model, url, Role.EMBEDDING in endpoint.roles)
        try:
            config = self._config(place)
        except ConfigError as error:
            return Rejected(endpoint.id, str(error)[:200])
        with self._lock:
            deferred = self._made.get(place)
            if deferred is None:
                deferred = self._made[place] = self._deferred(place, config)
        identity = endpoint.identity or self._identity(model)
        return replace(endpoint, model=deferred, url=endpoint.url or url, identity=identity)

    def _problem(self, own: str | None, url: str | None, model: str) -> str | None:
        if url is None:
            return "it has no url, and there is no template for one"
        if (problem := place_problem(model.partition(":")[0], url, self._params)) is not None:
            return problem
        look: Callable[[str], str | None] = url_problem if self._allow is None else self._allow.problem
        problem = look(url)
        # Health checks call what the endpoint says of itself.
        return problem if problem is not None or own is None or own == url else look(own)

    def _identity(self, model: str) -> str:
        return f"{model}|{orjson.dumps(self._params, default=str, option=orjson.OPT_SORT_KEYS).decode()}"

    def _config(self, place: _Place) -> EndpointConfig:
        return EndpointConfig(
            id=place.id,
            model=place.model,
            url=place.url,
            api_key_env=self._key,
            params=self._params,
            roles=frozenset({Role.EMBEDDING if place.vectors else Role.LLM}),
        )

    def _deferred(self, place: _Place, config: EndpointConfig) -> Deferred:
        shown = {name: value for name, value in self._params.items() if not name.endswith("_env")}
        settings = {"model_name": config.model_name, **shown}
        made: list[Any] = []

        def once() -> Any:
            with self._making:
                if not made:
                    made.append(self._make(place, config))
                return made[0]

        return Deferred(once, config.provider, settings)

    def _make(self, place: _Place, config: EndpointConfig) -> Any:
        make = vectors_model if place.vectors else chat_model
        if not is_watched(config.provider) or "http_client" in config.params:
            return make(config)
        # Here, not above: it brings httpx, and httpx its command line.
        from langchain_cluster.endpoints.connections import Connections

        connections = Connections(library_of(config.provider))
        model = watched(config, make, connections)
        with self._lock:
            if self._made.get(place) is None:  # it has left: what a late call opens is closed with it
                connections.retire()
            else:
                self._connections[place] = connections
        return model

    def release(self, endpoint: Endpoint) -> None:
        """The endpoint has left: its connections are closed, those in use when their calls end."""
        with self._lock:
            place = next((p for p, made in self._made.items() if made is endpoint.model), None)
            if place is None:
                return
            self._made.pop(place).gone = True
            connections = self._connections.pop(place, None)
        if connections is not None:
            connections.retire()

    def close(self) -> None:
        """Close the connections that idle."""
        with self._lock:
            connections = list(self._connections.values())
        for each in connections:
            each.rest()

    def __repr__(self) -> str:
        allowed = "any host" if self._allow is None else repr(self._allow)
        return f"<EndpointFactory {self._model}, {len(self._made)} models, {allowed}>"


def _has_variables(given: Any) -> bool:
    if isinstance(given, Mapping):
        return any(str(key).endswith("_env") or _has_variables(value) for key, value in given.items())
    return isinstance(given, list | tuple) and any(map(_has_variables, given))


def _holes(template: str, key: str) -> None:
    rest = _HOLE.sub("", template)
    names = _HOLE.findall(template)
    if "{" in rest or "}" in rest or not all(re.fullmatch(r"[\w.-]+", name) for name in names):
        raise ConfigError(f"{template!r} is no template: holes are written {{name}}", key=key)


def _values(endpoint: Endpoint) -> dict[str, str]:
    own = {"id": endpoint.id, "url": endpoint.url, "zone": endpoint.zone, "tier": endpoint.tier}
    values = dict(endpoint.metadata)
    if endpoint.url is not None and ("address" not in values or "port" not in values):
        parts = urlsplit(endpoint.url)
        host = parts.hostname or ""
        values.setdefault("address", host)
        values.setdefault("port", str(parts.port or 443 if parts.scheme == "https" else 80))
    if ":" in values.get("address", "") and not values["address"].startswith("["):
        values["address"] = f"[{values['address']}]"  # IPv6, as it stands in a url
    return values | {name: value for name, value in own.items() if value is not None}


def _filled(template: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if not values.get(found[1]):
            raise KeyError(found[1])
        return values[found[1]]

    return _HOLE.sub(value, template)


def _address(template: str, values: Mapping[str, str]) -> str:
    """The url; what fills its host cannot make another host, or a path, of it."""
    if template == "{url}":
        return _filled(template, values)
    scheme, separator, rest = template.partition("://")
    host, slash, path = rest.partition("/")
    for name in _HOLE.findall(scheme + host):
        if _NOT_IN_A_HOST & set(values.get(name, "")):
            raise ValueError(f"its {name} is no part of a host")
    return _filled(scheme + separator + host + slash + path, values)


def _shape_problem(endpoint: Endpoint) -> str | None:
    texts = [endpoint.id, endpoint.url or "", *endpoint.tags, *endpoint.metadata, *endpoint.metadata.values()]
    if not all(isinstance(text, str) for text in texts):
        return "its metadata is not all text"
    if sum(map(len, texts)) > MOST_CHARACTERS:
        return f"it is larger than {MOST_CHARACTERS // 1024} KiB"
    if len(endpoint.id) > LONGEST_ID:
        return f"its id is longer than {LONGEST_ID} characters"
    if not all(text.isprintable() or _clean(text) for text in texts):
        return "it has control characters in it"
    return None


def _clean(text: str) -> bool:
    return not any(unicodedata.category(character) in CONTROL for character in text)
