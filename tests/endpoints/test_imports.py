"""What `import langchain_cluster` brings into a process, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FOREIGN = (
    "openai", "anthropic", "langchain_openai", "langchain_anthropic", "httpx2", "redis", "consul", "numpy",
    "opentelemetry.sdk", "typer", "starlette", "uvicorn", "langchain", "langgraph",
)  # fmt: skip
PROGRAM = """
import json, sys, time
import langchain_core.language_models.chat_models
before = set(sys.modules)
started = time.perf_counter()
import langchain_cluster
seconds = time.perf_counter() - started
{then}
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def loaded(then: str = "") -> tuple[float, set[str]]:
    """Seconds the import took beyond langchain-core's, and the modules it loaded beyond those."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(then=then)], capture_output=True, text=True, check=True
    )
    seconds, modules = json.loads(ran.stdout)
    return seconds, set(modules)


def test_no_provider_and_no_extra_is_imported() -> None:
    seconds, modules = loaded()
    print(f"import langchain_cluster: {seconds * 1000:.0f} ms beyond langchain-core's own")
    assert modules.isdisjoint(FOREIGN)


def test_nor_what_httpx_has_for_its_command_line() -> None:
    for module in ("rich", "click", "pygments"):
        pytest.importorskip(module)
    _, modules = loaded()
    assert modules.isdisjoint({"rich", "click"})


def test_a_call_and_a_failure_import_none_either() -> None:
    _, modules = loaded(
        "from langchain_cluster.testing import ScriptedModel\n"
        "from langchain_cluster import ClusteredLLM, Endpoint, Policy\n"
        "models = ScriptedModel(TimeoutError()), ScriptedModel(ValueError('x'), 'hello')\n"
        "endpoints = [Endpoint(str(n), model) for n, model in enumerate(models)]\n"
        "llm = ClusteredLLM(endpoints, cache=True, policy=Policy(attempts=9, wait=lambda state: 0.0))\n"
        "assert llm.invoke('hi').content\n"
        "assert list(llm.stream('ho'))"
    )
    assert modules.isdisjoint(FOREIGN)
