"""What does the model say? A pure function of the request and of how the endpoint behaves.

By default it echoes: "gpu-1 says: hello". A tool is called

- if `tool_choice` demands it (then even after a tool result, as the providers promise; among
  several, the tools the user named, else one not called yet since the user spoke),
- or, left to choose, if the user's last message has the tool's name or one of the words of that
  name with four letters or more ("weather" for get_weather), and no tool result came after it.

Arguments and JSON answers fit their schema, see sample.py. A `reply` set by the test has the last
word: a text, a ToolCall, several, or a function from Ask to one of these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice

import orjson

from langchain_cluster.testing.simulated.dialect import Ask, Finish, Tool, ToolCall, Turn
from langchain_cluster.testing.simulated.latency import Latency
from langchain_cluster.testing.simulated.sample import Prompted, sample

__all__ = ["Behaviour", "Reply", "Said", "compose", "words"]

Said = str | ToolCall | Sequence[ToolCall]
Reply = Said | Callable[[Ask], Said]

_WORD = re.compile(r"\s*\S+(?:\s+$)?")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_ECHO = 40  # words of the prompt that the default answer repeats
_PIECE = 8  # characters of JSON in one token


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a healthy endpoint answers.

    latency: seconds before the headers. first_token: seconds between a stream's headers and its
    first token; between_tokens: seconds before each later one (a whole answer waits neither).
    tokens: words of a text answer, repeated or cut to fit; None leaves it as long as it is.
    models: those it serves, any other is a 404; empty serves every name. dimensions: of a vector.
    """

    reply: Reply | None = None
    latency: Latency = 0.0
    first_token: Latency = 0.0
    between_tokens: Latency = 0.0
    tokens: int | None = None
    models: tuple[str, ...] = ()
    dimensions: int = 256


def words(text: str) -> list[str]:
    """Split a text into tokens: words with the space before them, so that joined they are the text."""
    return _WORD.findall(text)


def compose(ask: Ask, behaviour: Behaviour) -> Turn:
    """What a healthy endpoint says to this."""
    said = behaviour.reply(ask) if callable(behaviour.reply) else behaviour.reply
    if said is None:
        said = _calls(ask) or _json(ask) or _echo(ask)
    if isinstance(said, ToolCall):
        said = (said,)
    if not isinstance(said, str):
        return Turn((), tuple(said), "tool_calls")
    return _text(ask, said, None if ask.json else behaviour.tokens)


def _echo(ask: Ask) -> str:
    if ask.results:
        return f"{ask.endpoint} says: the tool answered {' '.join(ask.results)}"
    return f"{ask.endpoint} says:{' ' if ask.text else ''}{''.join(words(ask.text)[:_ECHO])}"


def _text(ask: Ask, text: str, length: int | None) -> Turn:
    finish: Finish = "stop"
    stopped_by = None
    for stop in ask.stop:
        before, met, _ = text.partition(stop)
        if stop and met:
            text, finish, stopped_by = before, "stop_sequence", stop
    if ask.json:
        tokens = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    else:
        tokens = words(text)
    if length is not None and tokens and stopped_by is None:
        again = (word if word[0].isspace() else f" {word}" for word in cycle(tokens))
        tokens = list(islice(chain(tokens, islice(again, length)), length))
    if ask.max_tokens is not None and len(tokens) > ask.max_tokens:
        tokens, finish, stopped_by = tokens[: ask.max_tokens], "length", None
    return Turn(tuple(tokens), (), finish, stopped_by)


def _calls(ask: Ask) -> tuple[ToolCall, ...]:
    if not ask.tools or ask.choice == "none":
        return ()
    if ask.choice.startswith("tool:"):
        name = ask.choice.removeprefix("tool:")
        chosen = [tool for tool in ask.tools if tool.name == name]
    elif ask.choice == "any":
        fresh = [tool for tool in ask.tools if tool.name not in ask.called]
        chosen = _named(ask, ask.tools) if not ask.results else _named(ask, fresh)
        chosen = chosen or (fresh or list(ask.tools))[:1]
    elif ask.results:
        return ()
    else:
        chosen = _named(ask, ask.tools)
    if not ask.parallel:
        chosen = chosen[:1]
    prompted = Prompted(ask.text)
    return tuple(ToolCall(tool.name, sample(tool.schema, prompted)) for tool in chosen)


def _named(ask: Ask, tools: Sequence[Tool]) -> list[Tool]:
    """Those the user named in full, in the order of the prompt; else the one with most words in it."""
    said = set(re.findall(r"\w+", ask.text))
    full = [tool for tool in tools if tool.name in said]
    if full:
        return sorted(full, key=lambda tool: ask.text.index(tool.name))
    lower = {word.lower() for word in said}

    def hits(tool: Tool) -> int:
        return sum(len(part) >= 4 and part.lower() in lower for part in _PART.findall(tool.name))

    best = max(tools, key=hits, default=None)
    return [best] if best is not None and hits(best) else []


def _json(ask: Ask) -> str | None:
    if not ask.json:
        return None
    prompted = Prompted(ask.text)
    if ask.schema is not None:
        document = sample(ask.schema, prompted)
    else:  # "with 'setup' and 'punchline' keys"
        document = {key: key for key in prompted.quoted if key.isidentifier()} or {"answer": _echo(ask)}
    return orjson.dumps(document).decode()
