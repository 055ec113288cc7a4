"""Every Python snippet of README.md and docs/*.md runs, and prints what the page says it prints.

The snippets of a page share one namespace, from top to bottom. `await` may stand outside of functions,
as in a notebook. A `text` block right behind a snippet is its output; `...` stands for anything. A block
with `title="cluster.yaml"` is a file of that name. Addresses such as http://10.0.0.1:8000 are those of
a simulated server while the snippet runs; nothing else about it is changed.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import re
import sys
from contextlib import redirect_stdout
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from types import ModuleType

import pytest

from langchain_cluster.testing import SimulatedServer
from tests.docs.pages import Block, blocks, name_of, pages

ADDRESS = re.compile(r"http://10\.0\.0\.(\d+):8000")
ELSEWHERE = re.compile(r"https?://(?!10\.0\.0\.\d+:8000|127\.0\.0\.1|localhost)[\w.-]+")
WITH_PYTHON = [page for page in pages() if any(block.language == "python" for block in blocks(page))]


def rewritten(text: str, server: SimulatedServer) -> str:
    """The same text, with a server that exists behind its addresses."""
    return ADDRESS.sub(lambda found: f"{server.url}/gpu-{found[1]}", text)


def run(block: Block, text: str, namespace: dict[str, object], runner: asyncio.Runner) -> str:
    """What the snippet printed. Its traceback shows the page's own lines."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile("\n" * (block.line - 1) + text, str(block.page), "exec", flags=flags, dont_inherit=True)
    printed = io.StringIO()
    with redirect_stdout(printed):
        if code.co_flags & inspect.CO_COROUTINE:

            async def awaited() -> None:
                await eval(code, namespace)

            runner.run(awaited())
        else:
            exec(code, namespace)
    return printed.getvalue()


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_snippets_of_a_page_run(
    page: Path,
    server: SimulatedServer,
    elsewhere: Path,
    collector: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("snippets_of_" + page.stem)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with asyncio.Runner() as runner:
        for block in blocks(page):
            text = rewritten(block.text, server)
            if block.title is not None:
                Path(block.title).write_text(text, encoding="utf-8")
            if block.language != "python":
                continue
            printed = run(block, text, module.__dict__, runner)
            if block.output is not None:
                same = OutputChecker().check_output(
                    f"{block.output}\n", printed, ELLIPSIS | NORMALIZE_WHITESPACE
                )
                assert same, f"{block.place} prints\n{printed}\nand the page says\n{block.output}"


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_no_snippet_reaches_beyond_this_machine(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            assert ELSEWHERE.findall(block.text) == [], block.place


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_block_says_its_language(page: Path) -> None:
    known = {"python", "text", "sh", "console", "yaml", "toml", "json", "mermaid", "http", "ini"}
    assert [block.place for block in blocks(page) if block.language not in known] == []


def test_a_wrong_snippet_is_found(tmp_path: Path, server: SimulatedServer) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\n```\n\n```python\nprint(x + y)\n```\n\n```text\n2\n```\n")
    first, second, _ = blocks(page)
    assert (first.line, second.line, second.output) == (4, 8, "2")
    namespace: dict[str, object] = {}
    with asyncio.Runner() as runner:
        run(first, first.text, namespace, runner)
        with pytest.raises(NameError, match="'y'"):
            run(second, second.text, namespace, runner)
        namespace["y"] = 2
        assert run(second, second.text, namespace, runner) == "3\n"
    assert rewritten("http://10.0.0.7:8000/v1", server) == server.openai_url("gpu-7")
