"""A trace as a picture: one bar a span, its events as marks, in light and in dark.

    python -m tests.services.waterfall artefacts/real-llm-trace.json docs/images/trace.svg

reads OTLP as JSON, the form in which collectors write files.
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LEFT, RIGHT, ROW, TOP = 960, 330, 90, 26, 34
STYLE = """
text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #1c2430 }
.page { fill: #ffffff } .line { stroke: #d9dee6 } .dim { fill: #667085 }
.call { fill: #5b6b8c } .attempt { fill: #2f8f5b } .failed { fill: #c8413b } .cache { fill: #2a7fb8 }
.left { fill: #b08423 } .other { fill: #9aa4b5 } .mark { fill: #1c2430; stroke: #ffffff; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e9ef } .page { fill: #14181f } .line { stroke: #2b323d } .dim { fill: #98a2b3 }
  .mark { fill: #e6e9ef; stroke: #14181f }
}
"""


def spans_of(trace: dict[str, Any]) -> list[dict[str, Any]]:
    """Every span, in order of their beginnings, with its attributes plain and its depth."""
    found = [
        span
        for resource in trace["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    by_id = {span["spanId"]: span for span in found}

    def depth(span: dict[str, Any]) -> int:
        over = by_id.get(span.get("parentSpanId", ""))
        return 0 if over is None else 1 + depth(over)

    def ordered(over: str) -> list[dict[str, Any]]:
        under = [s for s in found if (s.get("parentSpanId") or "") == over]
        under.sort(key=lambda span: int(span["startTimeUnixNano"]))
        return [each for span in under for each in (span, *ordered(span["spanId"]))]

    for span in found:
        told = {one["key"]: next(iter(one["value"].values())) for one in span.get("attributes", [])}
        span |= {"told": told, "depth": depth(span)}
    return ordered("")


def draw(spans: list[dict[str, Any]]) -> str:
    """The picture, as SVG that loads nothing."""
    began = min(int(span["startTimeUnixNano"]) for span in spans)
    whole = max(int(span["endTimeUnixNano"]) for span in spans) - began
    height, wide = TOP + ROW * len(spans) + 14, WIDTH - LEFT - RIGHT

    def x(at: Any) -> float:
        return LEFT + (int(at) - began) / whole * wide

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>A trace of {len(spans)} spans</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
    ]
    for part in range(5):
        at = LEFT + wide * part / 4
        ms = whole / 1e6 * part / 4
        out.append(f'<line class="line" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{height - 8}"/>')
        out.append(f'<text class="dim" x="{at:.1f}" y="{TOP - 14}" text-anchor="middle">{ms:,.0f} ms</text>')
    for row, span in enumerate(spans):
        y, begin = TOP + ROW * row, x(span["startTimeUnixNano"])
        bar = max(2.0, x(span["endTimeUnixNano"]) - begin)
        took = (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e6
        out.append(f'<text x="{12 + 16 * span["depth"]}" y="{y + 16}">{escape(_label(span))}</text>')
        out.append(
            f'<rect class="{_kind(span)}" x="{begin:.1f}" y="{y + 5}" width="{bar:.1f}" height="14" rx="2"/>'
        )
        out.append(f'<text class="dim" x="{begin + bar + 6:.1f}" y="{y + 16}">{_ms(took)}</text>')
        for event in span.get("events", []):
            at = x(event["timeUnixNano"])
            name = escape(event["name"].removeprefix("langchain_cluster.event."))
            out.append(
                f'<circle class="mark" cx="{at:.1f}" cy="{y + 12}" r="4"><title>{name}</title></circle>'
            )
    return "\n".join([*out, "</svg>", ""])


def _ms(took: float) -> str:
    return f"{took:,.0f} ms" if took >= 10 else f"{took:.1f} ms"


def _label(span: dict[str, Any]) -> str:
    told, name = span["told"], str(span["name"])
    name = name.removeprefix("langchain_cluster ")
    if "langchain_cluster.attempt" in told:
        return (
            f"{name.split()[0]} on {told['langchain_cluster.endpoint']}: {told['langchain_cluster.verdict']}"
        )
    if "langchain_cluster.balancer" in told:
        said = told.get("langchain_cluster.cache") or told.get("langchain_cluster.verdict")
        kind = "stream" if told.get("langchain_cluster.streaming") else "call"
        return f"{kind}: {said}"
    return f"{name}: {told['langchain_cluster.cache']}" if "langchain_cluster.cache" in told else name


def _kind(span: dict[str, Any]) -> str:
    told = span["told"]
    if span.get("status", {}).get("code") in (2, "STATUS_CODE_ERROR"):
        return "failed"
    if told.get("langchain_cluster.verdict") == "abandoned":
        return "left"
    if "langchain_cluster.attempt" in told:
        return "attempt"
    if "langchain_cluster.balancer" in told:
        return "call"
    return "cache" if "langchain_cluster.cache" in told else "other"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(spans_of(json.loads(Path(sys.argv[1]).read_text()))))
