"""`chat`: talk to a cluster and see after each answer who gave it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.text import Text

from langchain_cluster.cli.screen import clean, complain, console, print_json, remark
from langchain_cluster.errors import ConfigError

EPILOG = (
    "Examples:\n\nlangchain-cluster chat cluster.yaml\n\n"
    "langchain-cluster chat --base-url http://127.0.0.1:8001/v1 --base-url http://127.0.0.1:8002/v1 "
    '--model m --once "How tall is Everest?"'
)


def chat(
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="A config file.")] = None,
    base_url: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Instead of FILE: an OpenAI-compatible server. Repeat for more."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The model it serves: one for all, or one for each --base-url."),
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable that holds the key for --base-url.")
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="How it is to answer.")] = None,
    once: Annotated[
        str | None, typer.Option(metavar="QUESTION", help="Ask this, print the answer and leave.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; with --once.")] = False,
) -> None:
    """Talk to a cluster: answers are shown as they come, with who gave them. Ctrl-D leaves."""
    if as_json and once is None:
        raise ConfigError("is for one question: add --once QUESTION", key="--json")
    from langchain_cluster.llm import ClusteredLLM

    llm = ClusteredLLM.from_config(_source(file, base_url or [], model or [], api_key_env))
    before = [("system", system)] if system else []
    with llm.cluster:
        if once is None:
            _converse(llm, before)
        elif not _answer_once(llm, [*before, ("human", once)], as_json=as_json):
            raise typer.Exit(1)


def _source(
    file: str | None, urls: Sequence[str], models: Sequence[str], api_key_env: str | None
) -> str | dict[str, Any]:
    if file is not None:
        if urls or models or api_key_env:
            raise ConfigError("give either FILE or --base-url with --model, not both")
        return file
    if not urls or not models:
        raise ConfigError("nobody to talk to: give FILE, or --base-url URL and --model NAME")
    if len(models) not in (1, len(urls)):
        raise ConfigError(f"{len(models)} names for {len(urls)} servers: give one, or as many", key="--model")
    names = models if len(models) == len(urls) else [models[0]] * len(urls)
    endpoints = [
        {"id": f"endpoint-{number}", "model": f"openai:{name.removeprefix('openai:')}", "url": url}
        | ({} if api_key_env is None else {"api_key_env": api_key_env})
        for number, (url, name) in enumerate(zip(urls, names, strict=True), start=1)
    ]
    return {"endpoints": endpoints, "cache": "memory"}


def _ask(llm: Any, messages: Sequence[Any], show: Callable[[str], None]) -> tuple[str, dict[str, Any]]:
    """The answer, shown while it comes, and where it came from."""
    said: list[str] = []
    about: dict[str, Any] = {}
    with closing(llm.stream(messages)) as chunks:
        for chunk in chunks:
            text = clean(chunk.text)
            if text:
                said.append(text)
                show(text)
            about = chunk.response_metadata.get("cluster") or about
    return "".join(said), about


def _answer_once(llm: Any, messages: Sequence[Any], *, as_json: bool) -> bool:
    shown = console()
    try:
        text, about = _ask(llm, messages, lambda text: None if as_json else _show(shown, text))
    except Exception as error:  # whatever a provider raises
        complain(error)
        return False
    if as_json:
        print_json({"answer": text, "cluster": about})
    else:
        shown.print()
        remark(about_line(about), stderr=True)  # stdout is the answer and nothing else
    return True


def _converse(llm: Any, messages: list[Any]) -> None:
    screen = console()
    count = len(llm.cluster.pool.list())
    remark(f"{count} endpoint{'s' if count != 1 else ''}. Ctrl-D or Ctrl-C leaves.")
    while True:
        try:
            question = screen.input("[bold]> [/]").strip()
        except (EOFError, KeyboardInterrupt):
            screen.print()
            return
        if not question:
            continue
        asked = [*messages, ("human", question)]
        try:
            text, about = _ask(llm, asked, lambda text: _show(screen, text))
        except KeyboardInterrupt:
            screen.print()
            raise
        except Exception as error:  # the conversation goes on, as if this had not been asked
            screen.print()
            complain(error)
            continue
        screen.print()
        remark(about_line(about))
        messages = [*asked, ("ai", text)]


def _show(screen: Any, text: str) -> None:
    screen.print(Text(text), end="", soft_wrap=True)  # a Text: no markup and no emoji of rich's
    screen.file.flush()


def about_line(about: Mapping[str, Any]) -> str:
    """`gpu-2 · 1 attempt · 0.8 s · cache miss`."""
    attempts = about.get("attempts", 0)
    cache = about.get("cache", "off")
    parts = [
        *([str(about["endpoint"])] if about.get("endpoint") else []),
        f"{attempts} attempt{'s' if attempts != 1 else ''}",
        f"{about.get('seconds') or 0.0:.1f} s",
        f"cache {cache if cache in ('miss', 'off') else f'hit ({cache})'}",
    ]
    return " · ".join(parts)
