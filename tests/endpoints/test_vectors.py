"""Vectors as bytes, and what a model's vectors are known by."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_openai import OpenAIEmbeddings

from langchain_cluster import Endpoint, Role
from langchain_cluster.endpoints import vectors as vectors_module
from langchain_cluster.endpoints.fingerprint import identity_of
from langchain_cluster.endpoints.retrieval import DocumentsCodec
from langchain_cluster.endpoints.vectors import VectorCodec
from langchain_cluster.testing import ScriptedEmbeddings, ScriptedModel, ScriptedRetriever

NUMBER = st.floats(width=32, allow_nan=False, allow_infinity=False)
MATRIX = st.integers(1, 5).flatmap(
    lambda length: st.lists(st.lists(NUMBER, min_size=length, max_size=length), min_size=1, max_size=4)
)


@given(MATRIX)
def test_what_a_float32_can_hold_comes_back_as_it_was(vectors: list[list[float]]) -> None:
    codec = VectorCodec()
    assert codec.decode(codec.encode(vectors)) == vectors


def test_the_bytes_are_a_header_and_little_endian_float32() -> None:
    raw = VectorCodec().encode([[1.0, -2.5]])
    assert raw == b"V\x01" + struct.pack("<II", 1, 2) + struct.pack("<2f", 1.0, -2.5)


def test_they_are_the_same_on_a_big_endian_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "_LITTLE", False)  # so it swaps, as such a machine must
    swapped = VectorCodec().encode([[1.0, -2.5]])
    assert swapped[10:] == struct.pack(">2f", 1.0, -2.5)
    assert VectorCodec().decode(swapped) == [[1.0, -2.5]]


@given(st.binary(max_size=40))
def test_no_other_bytes_are_read(raw: bytes) -> None:
    try:
        assert VectorCodec().encode(VectorCodec().decode(raw)) == raw
    except ValueError:
        pass


def test_what_no_float32_can_hold_is_not_kept() -> None:
    with pytest.raises(OverflowError):
        VectorCodec().encode([[1e300]])


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(TEXT, st.dictionaries(st.sampled_from("abc"), JSON))
def test_documents_come_back_as_they_were(text: str, metadata: dict[str, Any]) -> None:
    codec, documents = DocumentsCodec(), [Document(page_content=text, metadata=metadata, id="x")]
    assert codec.decode(codec.encode(documents)) == documents


def test_documents_of_another_kind_are_not_kept() -> None:
    class Page(Document):
        number: int = 1

    with pytest.raises(TypeError, match="Page is no plain Document"):
        DocumentsCodec().encode([Page(page_content="a")])


class Plain(Embeddings):
    def __init__(self, model: str) -> None:
        self.model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0]] * len(texts)

    def embed_query(self, text: str) -> list[float]:
        return [1.0]


def openai(**fields: Any) -> Any:
    return OpenAIEmbeddings(**{"model": "m", "api_key": "-", "base_url": "http://127.0.0.1:1", **fields})


def test_models_are_told_apart_by_class_name_and_what_shapes_their_vectors() -> None:
    models = [
        Plain("a"), Plain("b"), openai(), openai(model="n"), openai(dimensions=8),
        DeterministicFakeEmbedding(size=3), DeterministicFakeEmbedding(size=4),
    ]  # fmt: skip
    assert len({identity_of(Endpoint("e", model)) for model in models}) == len(models)
    alike = [openai(), openai(base_url="http://127.0.0.1:2"), openai(chunk_size=5), openai(api_key="x")]
    assert len({identity_of(Endpoint("e", model)) for model in alike}) == 1


def test_retrievers_are_told_apart_by_what_they_look_for() -> None:
    models: list[Any] = [
        ScriptedRetriever("x", k=1),
        ScriptedRetriever("x", k=2),
        ScriptedRetriever().bind(k=3),
    ]
    assert len({identity_of(Endpoint("e", model)) for model in models}) == 3


def test_an_endpoint_has_the_role_of_its_model_unless_told_otherwise() -> None:
    def roles(model: Any, **fields: Any) -> set[Role]:
        return set(Endpoint("e", model, **fields).roles)

    assert roles(None) == roles(ScriptedModel()) == roles(ScriptedModel().bind(stop=["x"])) == {Role.LLM}
    assert roles(ScriptedEmbeddings()) == roles(Plain("a")) == {Role.EMBEDDING}
    assert roles(ScriptedRetriever()) == roles(ScriptedRetriever().bind(k=1)) == {Role.RETRIEVAL}
    assert roles(ScriptedEmbeddings(), roles={Role.LLM}) == {Role.LLM}
