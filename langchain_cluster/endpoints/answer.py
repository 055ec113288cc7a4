"""From an `Answer` to what LangChain hands on: results, and the last chunk of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from langchain_core.messages import AIMessage, AIMessageChunk, ToolCallChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_cluster.endpoints.copied import copied
from langchain_cluster.model.call import Answer


def as_result(answer: Answer) -> ChatResult:
    """The answer's `ChatResult`, with where it came from in `response_metadata["cluster"]`.

    The message is copied: models that hand out one object again and again must not see it changed.
    """
    result: ChatResult = answer.value
    first = result.generations[0]
    known = first.message
    metadata = {**known.response_metadata, "cluster": answer.as_metadata()}
    message = copied(known, response_metadata=metadata)
    generation = ChatGeneration.model_construct(
        text=first.text, generation_info=first.generation_info, message=message, type="ChatGeneration"
    )
    return ChatResult.model_construct(
        generations=[generation, *result.generations[1:]], llm_output=result.llm_output, type="ChatResult"
    )


def said(text: str) -> ChatResult:
    """An answer that nobody but the user's own configuration gave."""
    return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


def as_message(answer: Answer, run_id: str) -> AIMessage:
    """The answer's message, as `BaseChatModel.invoke` would have finished it."""
    result: ChatResult = answer.value
    first = result.generations[0]
    known = first.message
    assert isinstance(known, AIMessage)
    metadata = {
        **((result.llm_output or {}) if len(result.generations) == 1 else {}),
        **(first.generation_info or {}),
        **known.response_metadata,
        "cluster": answer.as_metadata(),
    }
    return copied(known, response_metadata=metadata, id=f"{run_id}-0" if known.id is None else known.id)


def replay(answer: Answer) -> Iterator[ChatGenerationChunk]:
    """A whole answer as chunks: what was said, then how it ended."""
    result: ChatResult = answer.value
    generation = result.generations[0]
    message = generation.message
    yield ChatGenerationChunk(
        message=AIMessageChunk(
            content=message.content,
            additional_kwargs=message.additional_kwargs,
            name=message.name,
            tool_call_chunks=call_chunks(getattr(message, "tool_calls", ())),
        )
    )
    usage: Any = getattr(message, "usage_metadata", None)
    if usage is not None:
        # Chunks are added up, and LangChain adds only what it knows: the hint that it cost nothing is
        # on the message of `invoke` alone.
        usage = {name: value for name, value in usage.items() if name != "total_cost"}
    yield ChatGenerationChunk(
        message=AIMessageChunk(
            content="" if isinstance(message.content, str) else [],
            response_metadata=message.response_metadata,
            usage_metadata=usage,
            chunk_position="last",
        ),
        generation_info=generation.generation_info,
    )


def call_chunks(calls: Iterable[Any]) -> list[ToolCallChunk]:
    """Tool calls as a stream has them, each whole."""
    return [
        tool_call_chunk(
            name=call["name"], args=orjson.dumps(call["args"]).decode(), id=call["id"], index=index
        )
        for index, call in enumerate(calls)
    ]


def signed(chunk: ChatGenerationChunk | None, answer: Answer, like: Any) -> ChatGenerationChunk:
    """The last chunk of a stream, with where the answer came from; a new one if the model gave none.

    Metadata goes on exactly one chunk: adding chunks up concatenates what is on several.
    """
    if chunk is None:
        message = AIMessageChunk(content="" if isinstance(like, str) else [], chunk_position="last")
        info = None
    else:
        assert isinstance(chunk.message, AIMessageChunk)
        message, info = chunk.message.model_copy(), chunk.generation_info
    message.response_metadata = {**message.response_metadata, "cluster": answer.as_metadata()}
    return ChatGenerationChunk(message=message, generation_info=info)


def not_last(chunk: ChatGenerationChunk) -> ChatGenerationChunk:
    """A chunk that said it was the last, and was not."""
    message = chunk.message.model_copy(update={"chunk_position": None})
    return ChatGenerationChunk(message=message, generation_info=chunk.generation_info)


class Ending:
    """Keeps back what may be a stream's last chunk, to sign it."""

    __slots__ = ("_held", "_like")

    def __init__(self) -> None:
        self._held: ChatGenerationChunk | None = None
        self._like: Any = ""

    def follow(self, item: Any) -> Iterator[ChatGenerationChunk]:
        """What to hand out now that `item` has come."""
        if type(item) is not Answer:
            if self._held is not None:
                yield not_last(self._held)
                self._held = None
            self._like = item.message.content
            if getattr(item.message, "chunk_position", None) == "last":
                self._held = item
            else:
                yield item
            return
        if not item.delivered:
            first, self._held = replay(item)
            yield first
        yield signed(self._held, item, self._like)
