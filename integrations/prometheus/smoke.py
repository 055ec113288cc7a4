"""Serve metrics, read them as Prometheus would; exits 1 unless all that the rules use is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.request import urlopen

import yaml
from langchain_core.messages import AIMessage

from langchain_cluster import BreakerPolicy, ClusteredLLM, Endpoint, Price
from langchain_cluster.telemetry import setup
from langchain_cluster.testing import ScriptedModel

RULES = Path(__file__).with_name("rules.yml")
USED = re.compile(r"\b(?:langchain_cluster|gen_ai)_\w+")
LABELS = re.compile(r"\{[^}]*\}|\bby \([^)]*\)")


def used() -> set[str]:
    """Names of the metrics the rules are made of; not what they record themselves."""
    found = set()
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            found |= set(USED.findall(LABELS.sub("", rule["expr"])))
    return found


def served() -> set[str]:
    """Names of the metrics a program with some traffic serves."""
    telemetry = setup(service_name="smoke", prometheus="127.0.0.1:0", default=False)
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    llm = ClusteredLLM(
        [
            Endpoint("gpu-1", ScriptedModel(ConnectionError("refused"))),
            Endpoint(
                "gpu-2",
                ScriptedModel(AIMessage("one two three", usage_metadata=usage)),
                priority=1,
                price=Price(input=1.0, output=2.0),
            ),
        ],
        cache=True,
        breaker=BreakerPolicy(consecutive_failures=1),
        telemetry=telemetry,
    )
    llm.invoke("hello")
    llm.invoke("hello")
    list(llm.stream("something else"))
    assert telemetry.outlets is not None
    with urlopen(f"http://127.0.0.1:{telemetry.outlets.port}/metrics", timeout=5.0) as answer:
        page = answer.read().decode()
    telemetry.shutdown()
    return {re.split(r"[{ ]", line)[0] for line in page.splitlines() if not line.startswith("#")}


def main() -> int:
    """Compare what the rules use with what is served."""
    missing = used() - served()
    if missing:
        sys.stdout.write(f"the rules use what is not served: {', '.join(sorted(missing))}\n")
        return 1
    sys.stdout.write(f"all {len(used())} metrics of the rules are served\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
