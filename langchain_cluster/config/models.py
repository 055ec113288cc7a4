"""The model of an endpoint that a config describes: chat or embeddings. Libraries are imported when used.

`openai:` and `anthropic:` are made here, `scripted:` plays a script without any server (docs and tests),
and every other provider is left to LangChain's `init_chat_model`.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any

from pydantic import SecretStr, ValidationError

from langchain_cluster.config.endpoint import EndpointConfig
from langchain_cluster.config.secrets import variable, with_variables
from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need

PROVIDERS = ("openai", "anthropic", "scripted")
NO_KEY = "-"  # for servers of one's own, which want none; also keeps OPENAI_API_KEY from being sent there


def chat_model(config: EndpointConfig) -> Any:
    """A new chat model.

    Raises:
        ConfigError: its library is not installed, a variable is not set, or an argument is not valid.
    """
    arguments = with_variables(config.params, "params")
    if config.provider == "scripted":
        return _scripted(config, arguments)
    _add_place_and_key(config, arguments)
    if config.provider == "openai":
        kind = _library("langchain_openai", extra="openai").ChatOpenAI
    elif config.provider == "anthropic":
        kind = _library("langchain_anthropic").ChatAnthropic
    else:
        return _any_other(config, arguments)
    _check_names(kind, config.params)
    return _made(kind, {"model": config.model_name, **arguments})


def vectors_model(config: EndpointConfig) -> Any:
    """New embeddings.

    Raises:
        ConfigError: its library is not installed, a variable is not set, or an argument is not valid.
    """
    arguments = with_variables(config.params, "params")
    if config.provider == "scripted":
        kind = import_module("langchain_cluster.testing").ScriptedEmbeddings
        _check_names(kind, config.params)
        return _made(kind, {"model": config.model_name, **arguments})
    _add_place_and_key(config, arguments)
    if config.provider != "openai":
        return _any_other(config, arguments, vectors=True)
    kind = _library("langchain_openai", extra="openai").OpenAIEmbeddings
    _check_names(kind, config.params)
    if config.address is not None:
        # Servers of one's own want texts, not the tokens of a model of OpenAI's.
        arguments.setdefault("check_embedding_ctx_length", False)
    return _made(kind, {"model": config.model_name, **arguments})


def _add_place_and_key(config: EndpointConfig, arguments: dict[str, Any]) -> None:
    if config.api_key_env is not None:
        arguments["api_key"] = SecretStr(variable(config.api_key_env, "api_key_env"))
    elif config.address is not None and config.provider in ("openai", "anthropic"):
        arguments["api_key"] = SecretStr(NO_KEY)
    if config.address is not None:
        arguments["base_url"] = config.address


def _library(module: str, *, extra: str | None = None) -> Any:
    if extra is not None:
        try:
            return need(module, extra=extra, for_="this provider")
        except ImportError as missing:
            raise ConfigError(str(missing), key="model") from None
    try:
        return import_module(module)
    except ImportError as missing:
        package = module.replace("_", "-")
        raise ConfigError(
            f"this provider needs {module} ({missing}): pip install {package}", key="model"
        ) from None


def _check_names(kind: Any, params: dict[str, Any]) -> None:
    """A misspelt argument would be sent to the server, which refuses every call, or worse, ignores it."""
    valid = set(kind.model_fields) | {f.alias for f in kind.model_fields.values() if f.alias}
    for name in params:
        if name not in valid and name.removesuffix("_env") not in valid:
            near = get_close_matches(name, sorted(valid), n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"{kind.__name__} has no argument of this name{meant} (what only the server knows goes under "
                f"{'extra_body' if 'extra_body' in valid else 'model_kwargs'})",
                key=f"params.{name}",
            )


def _made(kind: Any, arguments: dict[str, Any]) -> Any:
    try:
        return kind(**arguments)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]  # the input may hold a key
        where = ".".join(["params", *(str(step) for step in first["loc"])])
        raise ConfigError(first["msg"].removeprefix("Value error, "), key=where) from None
    except ConfigError:
        raise
    except Exception as error:  # whatever a provider's library makes of what it was given
        raise ConfigError(f"the model cannot be made: {_first_line(error)}", key="model") from None


def _scripted(config: EndpointConfig, arguments: dict[str, Any]) -> Any:
    # The testing helpers are a layer above this one: they are looked up by name, for this kind alone.
    model = import_module("langchain_cluster.testing").ScriptedModel
    script = arguments.pop("script", [f"{config.model_name}, as {config.id}"])
    if not isinstance(script, list) or not all(isinstance(step, str) for step in script):
        raise ConfigError("is not a list of texts", key="params.script")
    _check_names(model, {name: value for name, value in config.params.items() if name != "script"})
    return _made(lambda **fields: model(*script, **fields), {"model_name": config.model_name, **arguments})


def _any_other(config: EndpointConfig, arguments: dict[str, Any], *, vectors: bool = False) -> Any:
    provider = config.provider
    try:
        langchain = import_module("langchain.embeddings" if vectors else "langchain.chat_models")
    except ImportError:
        raise ConfigError(
            f"unknown provider {provider!r} (others than these are made by langchain, which is not "
            'installed: pip install "langchain-cluster[agents]")',
            key="model",
            valid=PROVIDERS,
            got=provider,
        ) from None
    builtin = getattr(langchain.base, "_BUILTIN_PROVIDERS", ())
    known = sorted({*(("openai", "scripted") if vectors else PROVIDERS), *builtin})
    if len(known) > len(PROVIDERS) and provider not in known:
        raise ConfigError(f"unknown provider {provider!r}", key="model", valid=known, got=provider)
    if vectors:
        return _made(
            langchain.init_embeddings, {"model": config.model_name, "provider": provider, **arguments}
        )
    return _made(
        langchain.init_chat_model,
        {"model": config.model_name, "model_provider": provider, **arguments},
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
