"""Prompts as they are written in a file: one a line, as text or as JSON, all checked before any is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import orjson
from langchain_core.messages import convert_to_messages

from langchain_cluster.endpoints.settings import settings_of
from langchain_cluster.errors import ConfigError

_WISHES = ("tenant", "tier", "zone", "tags", "cache_tags")
_KEYS = ("prompt", "messages", "system", "agent", "stop", "arguments", *_WISHES)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question, and whose it is.

    Attributes:
        input: a text, or messages in any form LangChain takes.
        wishes: what `configurable.cluster` is told: tenant, tier, zone, tags, cache_tags.
        agent: whose policy counts. stop, arguments: of the call. place: where it is written.
    """

    input: Any
    wishes: Mapping[str, Any] = field(default_factory=dict)
    agent: str | None = None
    stop: list[str] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """The config of its call."""
        config: dict[str, Any] = {"configurable": {"cluster": dict(self.wishes)}}
        return config if self.agent is None else {**config, "metadata": {"lc_agent_name": self.agent}}


def read_prompts(path: str | PathLike[str]) -> list[Prompt]:
    """The prompts of a file: JSON Lines if it ends in .jsonl or .ndjson, else one text a line.

    A JSON line is a text, or an object with `prompt` (and `system`) or `messages`, and besides `tenant`,
    `tier`, `zone`, `tags`, `cache_tags`, `agent`, `stop` and `arguments`. Empty lines are passed over.

    Raises:
        ConfigError: the file cannot be read, or a line of it is none of these; it says which.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 (byte {error.start})", file=str(path)) from None
    as_json = file.suffix in (".jsonl", ".ndjson")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ConfigError("has no prompts: write one a line", file=str(path))
    return [
        _of_json(line, str(path), number) if as_json else Prompt(line.strip(), place=f"line {number}")
        for number, line in lines
    ]


def prompts_of(given: Iterable[Any]) -> Iterator[Prompt]:
    """Texts, messages and mappings as prompts. Raises ConfigError."""
    for number, one in enumerate(given, 1):
        if isinstance(one, Prompt):
            yield one
        elif isinstance(one, Mapping):
            yield _of_mapping(one, None, f"prompt {number}")
        else:
            yield Prompt(one, place=f"prompt {number}")


def _of_json(line: str, file: str, number: int) -> Prompt:
    place = f"line {number}"
    try:
        read = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"this is no JSON: {error}", file=file, key=place) from None
    if isinstance(read, str):
        read = {"prompt": read}
    if not isinstance(read, dict):
        kind = type(read).__name__
        raise ConfigError(
            f'a {kind} is no prompt: give a text, or an object such as {{"prompt": "..."}}',
            file=file,
            key=place,
        )
    return _of_mapping(read, file, place)


def _of_mapping(read: Mapping[str, Any], file: str | None, place: str) -> Prompt:
    def wrong(problem: str, **more: Any) -> ConfigError:
        return ConfigError(problem, file=file, key=place, **more)

    for key in read:
        if key not in _KEYS:
            raise wrong(f"unknown key {key!r}", valid=_KEYS, got=str(key))
    if ("prompt" in read) is ("messages" in read):
        raise wrong("give either prompt or messages")
    if "prompt" in read:
        if not isinstance(read["prompt"], str) or not read["prompt"].strip():
            raise wrong(f"prompt {read['prompt']!r} is not a text")
        system = read.get("system")
        if system is not None and not isinstance(system, str):
            raise wrong(f"system {system!r} is not a text")
        asked: Any = (
            [("human", read["prompt"])] if system is None else [("system", system), ("human", read["prompt"])]
        )
    else:
        if "system" in read:
            raise wrong("system goes with prompt: put it among the messages")
        asked = read["messages"]
    try:
        messages = convert_to_messages(asked)
        if not messages:
            raise ValueError("there are none")
    except Exception as error:
        raise wrong(f"its messages are none LangChain knows: {' '.join(str(error).split())[:200]}") from None
    wishes = {key: read[key] for key in _WISHES if read.get(key) is not None}
    try:
        settings_of({"configurable": {"cluster": wishes}})
    except ConfigError as error:
        raise wrong(f"{(error.key or '').rpartition('.')[2]}: {error.problem}") from None
    stop, arguments, agent = read.get("stop"), read.get("arguments") or {}, read.get("agent")
    if isinstance(stop, str):
        stop = [stop]
    if stop is not None and not (isinstance(stop, list) and all(isinstance(word, str) for word in stop)):
        raise wrong(f"stop {stop!r} is not a list of texts")
    if not isinstance(arguments, Mapping):
        raise wrong(f"arguments {arguments!r} is not an object")
    if agent is not None and not isinstance(agent, str):
        raise wrong(f"agent {agent!r} is not a name")
    return Prompt(messages, wishes, agent, stop, dict(arguments), place)
