"""Every fault of the simulated server, what it leads to, and the table of it that the docs show.

    python -m tests.faces.fault_cases    # writes the table into docs/failover.md

tests/faces/test_faults.py sees each case happen through every face; tests/docs compares the table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from langchain_core.exceptions import ContextOverflowError

from langchain_cluster.testing import faults
from tests.architecture.syntax import ROOT

FAILS_OVER = "fails over"  # the healthy endpoint's whole answer
RAISES = "raises"  # the provider's own error; nobody else is asked
ANSWERS = "answers"  # the first endpoint's own whole answer: the fault does no harm
INTERRUPTED = "interrupted"  # StreamInterrupted, with what was received


@dataclass(frozen=True)
class Case:
    """What a fault leads to, whole and streamed, and what its endpoint is told to have done."""

    fault: faults.Fault
    verdict: str | None
    whole: str = FAILS_OVER
    streamed: str = FAILS_OVER
    raises: Any = Exception

    def __str__(self) -> str:
        told = []
        for number, one in enumerate(fields(self.fault)):
            value = getattr(self.fault, one.name)
            if value is None or value is False or value == {}:
                continue
            plain = number == 0 and value is not True
            told.append(repr(value) if plain else f"{one.name}={value!r}")
        return f"{type(self.fault).__name__}({', '.join(told)})"


def both(
    fault: faults.Fault, verdict: str | None, outcome: str = FAILS_OVER, raises: Any = Exception
) -> Case:
    return Case(fault, verdict, outcome, outcome, raises)


CASES = [
    *(both(faults.Status(status), "transient") for status in (408, 409, 500, 502, 503, 504, 529)),
    both(faults.Status(502, "<html>Bad gateway</html>"), "transient"),
    both(faults.Status(503, headers={"retry-after": "2"}), "throttled"),
    *(both(faults.Status(status), "config") for status in (401, 403, 404)),
    both(faults.InsufficientQuota(), "config"),
    both(faults.RateLimited(), "throttled"),
    both(faults.RateLimited(2), "throttled"),
    both(faults.RateLimited(retry_after_ms=1500), "throttled"),
    *(both(faults.Status(status), "caller", RAISES) for status in (400, 413, 422)),
    both(faults.ContentFilter(), "caller", RAISES),
    both(faults.ContentFilter(finish=True), None, ANSWERS),
    *(
        both(faults.ContextOverflow(style), "overflow", RAISES, ContextOverflowError)
        for style in (None, "openai", "vllm", "anthropic")
    ),
    both(faults.Refuse(), "transient"),
    both(faults.Html(), "transient"),
    both(faults.EmptyBody(), "transient"),
    both(faults.NullChoices(), "transient"),
    both(faults.HalfJson(), "transient"),
    both(faults.ErrorBody(), "transient"),
    *(
        Case(fault(0), "transient")
        for fault in (faults.ResetAfter, faults.CutAfter, faults.ChunkedCutAfter, faults.MalformedChunk)
    ),
    Case(faults.ErrorEvent(0), "transient"),
    *(
        Case(fault(4), "transient", FAILS_OVER, INTERRUPTED)
        for fault in (
            faults.ResetAfter,
            faults.CutAfter,
            faults.ChunkedCutAfter,
            faults.MalformedChunk,
            faults.ErrorEvent,
        )
    ),
    both(faults.NoDone(), None, ANSWERS),
    both(faults.NoDone(close=True), None, ANSWERS),
]

SILENT = [
    both(faults.Hang(), "transient"),
    both(faults.SlowFirstToken(30.0), "transient"),
    Case(faults.StallAfter(0), "transient"),
    Case(faults.StallAfter(4), "transient", FAILS_OVER, INTERRUPTED),
]


# -- the table ------------------------------------------------------------------------------------

PAGE = ROOT / "docs" / "failover.md"
BEGIN, END = "<!-- faults -->\n", "<!-- end of faults -->\n"
SAID = {
    FAILS_OVER: "answered elsewhere, 1 + 1",
    RAISES: "the error, 1 + 0",
    ANSWERS: "answered, 1 + 0",
    INTERRUPTED: "`StreamInterrupted`, 1 + 0",
}


def recovered(case: Case) -> str:
    """What a stream comes to with `recover="resume"` or `"buffer"`."""
    return FAILS_OVER if case.streamed == INTERRUPTED else case.streamed


def table() -> str:
    """A row for each case: what is asked of the endpoint with the fault, and of another beside it."""
    rows = [
        "| fault | verdict | whole answer | stream | stream, `resume` or `buffer` |",
        "|---|---|---|---|---|",
    ]
    for case in (*CASES, *SILENT):
        verdict = f"`{case.verdict.upper()}`" if case.verdict else ""
        ends = (SAID[case.whole], SAID[case.streamed], SAID[recovered(case)])
        rows.append(f"| `{case}` | {verdict} | " + " | ".join(ends) + " |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write the table where the page has its markers."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{begin}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
