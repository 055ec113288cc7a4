"""The picture of what was measured: a line for thresholds, a dot for what learns."""

from __future__ import annotations

from os import PathLike
from typing import Any

from langchain_cluster.extras import need
from langchain_cluster.testing.quality.measure import SHOWN, Measured, Point
from langchain_cluster.testing.simulation.plot import COLOURS, FAINT, INK, STYLE, checked_path

_NAMES = {"guards": "threshold, with guards", "no guards": "threshold, without guards"}


def draw(measured: Measured, path: str | PathLike[str]) -> None:
    """Draw it into a .png or .svg file.

    Raises:
        ConfigError: another kind of file, or no such directory. ImportError: matplotlib is not installed.
    """
    path = checked_path(str(path))
    matplotlib: Any = need("matplotlib", extra="plot", for_="A plot")
    figures: Any = need("matplotlib.figure", extra="plot", for_="A plot")
    with matplotlib.rc_context(STYLE):
        figure = figures.Figure(figsize=(9.2, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _curve(left, measured)
        _precision(right, measured)
        figure.savefig(path, dpi=130)


def _of(measured: Measured, policy: str) -> list[Point]:
    return sorted((p for p in measured.points if p.policy == policy), key=lambda point: point.threshold)


def _wrong(measured: Measured, point: Point) -> float:
    return point.false_hits if measured.kind == "pairs" else 1.0 - point.precision


def _curve(axes: Any, measured: Measured) -> None:
    """Hits over wrong ones."""
    unit = "of the traps" if measured.kind == "pairs" else "of the hits"
    axes.set_title("What it serves, rightly and wrongly")
    axes.set_xlabel(f"wrong answers, % {unit}")
    axes.set_ylabel("right answers, % of those that could be")
    for number, policy in enumerate(_NAMES):
        points = _of(measured, policy)
        x = [100 * _wrong(measured, point) for point in points]
        y = [100 * point.hits for point in points]
        axes.plot(x, y, color=COLOURS[number], label=_NAMES[policy], marker=".", markersize=3, linewidth=1.4)
        for point, left, up in zip(points, x, y, strict=True):
            if point.threshold in SHOWN:
                axes.plot([left], [up], "o", color=COLOURS[number], markersize=4.5)
                axes.annotate(
                    f"{point.threshold:.2f}", (left, up), xytext=(5, -9), textcoords="offset points",
                    fontsize=7.5, color=COLOURS[number],
                )  # fmt: skip
    for point in _of(measured, "learned"):
        wrong, right = 100 * _wrong(measured, point), 100 * point.hits
        name = f"learned, error_rate {point.threshold:g}"
        axes.plot([wrong], [right], "D", color=COLOURS[2], markersize=6.5, label=name)
    most = axes.get_xlim()[1]
    axes.set_xlim(-0.03 * most, most)
    axes.set_ylim(0, 102)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.legend(loc="lower right", fontsize=8)


def _precision(axes: Any, measured: Measured) -> None:
    """Precision by threshold, with its bounds."""
    axes.set_title("How often an answer it serves is right")
    axes.set_xlabel("threshold (cosine)")
    axes.set_ylabel("precision, % (band: 95 %)")
    for number, policy in enumerate(_NAMES):
        points = [point for point in _of(measured, policy) if point.served]
        x = [point.threshold for point in points]
        low = [100 * point.bounds["precision"][0] for point in points]
        high = [100 * point.bounds["precision"][1] for point in points]
        axes.fill_between(x, low, high, color=COLOURS[number], alpha=0.15, linewidth=0)
        axes.plot(x, [100 * p.precision for p in points], color=COLOURS[number], marker=".", linewidth=1.4)
    for point in _of(measured, "learned"):
        if point.served:
            axes.axhline(100 * point.precision, color=COLOURS[2], linewidth=1.2, linestyle="--")
            axes.annotate(
                f"learned, error_rate {point.threshold:g}",
                (0.99, 100 * point.precision),
                xytext=(0, -10),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                ha="right",
                fontsize=8,
                color=INK,
            )
    low = axes.get_ylim()[0]
    axes.set_ylim(low, 100 + 0.03 * (100 - low))
    axes.grid(color=FAINT, linewidth=0.6)
