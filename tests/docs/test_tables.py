"""Every name and default in the tables of README.md and docs/*.md is the code's own.

A table that is checked stands under a comment such as `<!-- defaults: Policy -->`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import tenacity

import langchain_cluster
from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.cache import MemoryCache
from langchain_cluster.endpoints import settings
from langchain_cluster.endpoints.classify import classify
from langchain_cluster.model import events
from langchain_cluster.model.call import Answer, Verdict
from langchain_cluster.telemetry import names
from langchain_cluster.testing import faults
from tests.architecture.syntax import ROOT
from tests.docs.pages import column, markers, name_of, pages, table

README = ROOT / "README.md"
DOCS = ROOT / "docs"
OWNERS: dict[str, Any] = {
    **{name: getattr(langchain_cluster, name) for name in langchain_cluster.__all__},
    "MemoryCache": MemoryCache,
}
WITH_DEFAULTS = [(page, owner) for page in pages() for owner in markers(page, "defaults")]
WITH_CONSTANTS = [page for page in pages() if "_" in markers(page, "constants")]


def defaults_of(owner: Any) -> dict[str, Any]:
    """Name -> default, `required` where there is none; the class's own fields or arguments, in order."""
    if hasattr(owner, "model_fields") and owner is not langchain_cluster.ClusteredLLM:
        return {
            name: "required" if field.is_required() else field.get_default(call_default_factory=True)
            for name, field in owner.model_fields.items()
        }
    parameters = list(inspect.signature(owner.__init__).parameters.values())[1:]
    found = {
        p.name: "required" if p.default is p.empty else p.default
        for p in parameters
        if p.kind is not p.VAR_KEYWORD
    }
    if dataclasses.is_dataclass(owner):
        for field in dataclasses.fields(owner):
            if field.default_factory is not dataclasses.MISSING:
                found[field.name] = field.default_factory()
    return found


def same(given: Any, value: Any) -> bool:
    """Equal; a wait strategy by its kind and numbers."""
    if isinstance(value, tenacity.wait.wait_base):
        return type(given) is type(value) and vars(given) == vars(value)
    return bool(given == value) and (isinstance(given, bool) is isinstance(value, bool))


def test_the_tables_that_are_checked_are_there() -> None:
    assert {owner for _, owner in WITH_DEFAULTS} >= {
        "BreakerPolicy", "Capacity", "Cluster", "Endpoint", "MemoryCache", "Policy", "Price",
    }  # fmt: skip


@pytest.mark.parametrize(("page", "owner"), WITH_DEFAULTS, ids=lambda value: getattr(value, "stem", value))
def test_names_and_defaults_are_those_of_the_code(page: Path, owner: str) -> None:
    expected = defaults_of(OWNERS[owner])
    rows = table(page, f"defaults: {owner}")
    assert [row[0].strip("`") for row in rows] == list(expected)
    known = {**OWNERS, **vars(tenacity)}
    for name, told in ((row[0].strip("`"), row[1].strip("`")) for row in rows):
        given = told if told == "required" else eval(told, known)
        assert same(given, expected[name]), f"{owner}.{name}: the page says {told}, it is {expected[name]!r}"


def test_the_verdicts_are_all_there() -> None:
    assert column(DOCS / "failover.md", "verdicts") == [verdict.name for verdict in Verdict]


def test_a_status_means_what_the_page_says() -> None:
    for row in table(DOCS / "failover.md", "statuses"):
        for status in re.findall(r"\d{3}", row[0]):
            error = type("Refused", (Exception,), {"status_code": int(status), "response": None})("no")
            assert classify(error).verdict.name == row[1].strip("`"), status


@pytest.mark.parametrize("page", WITH_CONSTANTS, ids=name_of)
def test_constants_have_the_value_the_page_gives(page: Path) -> None:
    for row in table(page, "constants: _"):
        module, _, name = row[2].strip("`").rpartition(".")
        value = getattr(importlib.import_module(f"langchain_cluster.{module}"), name)
        assert ast.literal_eval(row[1].split()[0]) == value, row


def test_the_balancers_are_all_there() -> None:
    told = column(DOCS / "balancing.md", "balancers")
    assert sorted(told) == sorted(BALANCERS)
    kinds = {f"langchain_cluster.balancer.{kind.__name__}" for kind in BALANCERS.values()}
    assert kinds <= set(column(DOCS / "api.md", "other names"))


def test_the_events_are_all_there_with_their_fields() -> None:
    kinds = {
        kind.__name__: kind
        for kind in events.Event.__subclasses__()
        if kind.__module__.startswith(events.__name__)
    }
    assert sorted(events.__all__) == sorted(["Event", *kinds])
    told = table(DOCS / "events.md", "events")
    assert sorted(row[0].strip("`") for row in told) == sorted(kinds)
    for row in told:
        kind = kinds[row[0].strip("`")]
        fields = [field.name for field in dataclasses.fields(kind) if field.name != "at"]
        assert re.findall(r"`(\w+)`", row[1]) == fields, kind.__name__


def test_the_events_that_are_said_to_happen_are_emitted_somewhere() -> None:
    source = "\n".join(path.read_text() for path in ROOT.joinpath("langchain_cluster").rglob("*.py"))
    for row in table(DOCS / "events.md", "events"):
        built = re.search(rf"{row[0].strip('`')}\((?!Event\):)", source) is not None
        assert built == ("not sent yet" not in row[2]), row[0]


EVENTS = {f"EVENT_{what}" for what in ("FIRST_TOKEN", "RETRY", "FAILOVER", "HEDGE", "BREAKER")}


def used_names() -> dict[str, str]:
    """The constants of telemetry/names.py that something else uses: name -> value."""
    source = "\n".join(
        path.read_text()
        for path in ROOT.joinpath("langchain_cluster").rglob("*.py")
        if path.name != "names.py"
    )
    used = set(re.findall(r"\bnames\.([A-Z_]+)", source))
    return {name: value for name, value in vars(names).items() if name in used}


def test_span_names_and_attributes_are_those_that_are_sent() -> None:
    used = used_names()
    roles = ("", "_EMBEDDINGS", "_RETRIEVAL")
    spans = {used.pop(f"{what}{role}") for what in ("CALL", "ATTEMPT") for role in roles}
    spans |= {used.pop("LOOKUP"), used.pop("QUEUE")}
    events = {name for name in used if name in EVENTS}
    assert sorted(column(DOCS / "tracing.md", "span events")) == sorted(used.pop(name) for name in events)
    for name in [name for name in used if name.startswith(("METRIC_", "LABEL_"))]:
        del used[name]  # they are on the page of metrics
    assert used.pop("SCOPE") in DOCS.joinpath("tracing.md").read_text()
    assert {name.partition(" {")[0] for name in column(DOCS / "tracing.md", "span names")} == spans
    assert sorted(column(DOCS / "tracing.md", "span attributes")) == sorted(used.values())
    assert names.SEMCONV_VERSION in DOCS.joinpath("tracing.md").read_text()


def test_metrics_are_those_that_are_sent() -> None:
    every = {name: value for name, value in vars(names).items() if name.startswith("METRIC_")}
    assert {name for name in used_names() if name.startswith("METRIC_")} == set(every)
    assert sorted(column(DOCS / "metrics.md", "metrics")) == sorted(every.values())
    known = {value for name, value in vars(names).items() if name.isupper()}
    for row in table(DOCS / "metrics.md", "metrics"):
        assert set(re.findall(r"`([\w.]+)`", row[2])) <= known, row[0]


def test_the_keys_of_a_call_are_all_there() -> None:
    assert column(DOCS / "agents.md", "call keys") == list(settings._KEYS)


def test_the_metadata_of_an_answer_is_all_there() -> None:
    assert column(DOCS / "quickstart.md", "metadata") == list(Answer(None, "miss").as_metadata())


def test_the_errors_are_all_there_with_their_attributes() -> None:
    from langchain_cluster import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in kinds if kind.__module__ == errors.__name__]
    told = table(DOCS / "errors.md", "errors")
    assert [row[0].strip("`") for row in told] == [kind.__name__ for kind in kinds]
    for row, kind in zip(told, kinds, strict=True):
        source = inspect.getsource(kind)
        for attribute in re.findall(r"`\.(\w+)`", row[2]):
            assert re.search(rf"self\.[^=\n]*\b{attribute}\b", source), f"{kind.__name__}.{attribute}"
        for base in re.findall(r"`(\w+Error)`", row[3]):
            assert base in {parent.__name__ for parent in kind.__mro__}, f"{kind.__name__} is no {base}"


def test_the_faults_are_all_there() -> None:
    told = column(DOCS / "testing.md", "faults")
    assert sorted(name.partition("(")[0] for name in told) == sorted(
        k.__name__ for k in get_args(faults.Fault)
    )


def test_the_public_names_are_all_there() -> None:
    told = column(DOCS / "api.md", "public names")
    assert sorted(told) == sorted(langchain_cluster.__all__)


def test_a_clustered_llm_takes_every_argument_of_a_cluster() -> None:
    from langchain_cluster import llm

    own = set(inspect.signature(llm.ClusteredLLM.__init__).parameters) | set(llm._OWN_OPTIONS)
    assert set(column(DOCS / "api.md", "defaults: Cluster")) <= own


def test_other_names_of_the_api_page_can_be_imported() -> None:
    for row in table(DOCS / "api.md", "other names"):
        module, _, name = row[0].strip("`").rpartition(".")
        assert hasattr(importlib.import_module(module), name), row[0]


def test_a_function_is_not_hidden_by_the_submodule_of_its_name() -> None:
    code = (
        "import langchain_cluster.config.load, langchain_cluster.config.describe\n"
        "from langchain_cluster.config import describe, load\n"
        "assert callable(load) and callable(describe)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_extras_are_those_that_do_something_today() -> None:
    known = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = column(README, "extras")
    assert set(told) <= set(known)
    assert {"agents", "cli", "demo", "openai", "otel"} <= set(told)


@pytest.mark.parametrize("measured", ["overhead", "http"])
def test_the_figures_name_what_the_benchmark_prints(measured: str) -> None:
    source = ROOT.joinpath("tests", "benchmarks", f"{measured}.py").read_text()
    for page in (README, DOCS / "performance.md"):
        assert f"python tests/benchmarks/{measured}.py" in page.read_text()
        for name in column(page, f"figures: {measured}"):
            assert f'"{name}"' in source, name
