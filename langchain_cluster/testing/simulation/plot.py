"""A picture of a scenario under several balancers: shares, latencies, and what happened over time."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need
from langchain_cluster.testing.simulation.result import Simulation
from langchain_cluster.testing.simulation.scenario import Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = (".svg", ".png")
# Okabe and Ito's colours, which people who see fewer colours tell apart too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#5F4690", "#777777")
INK, FAINT = "#24292f", "#d0d7de"
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],  # of one width: text stays text in an SVG
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "langchain-cluster",  # the same picture is the same file
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
}
STRETCHES = 60  # points of a line over time
TITLE = 84  # characters of a line


def checked_path(path: str | Path) -> Path:
    """Where a picture is to go. Raises ConfigError for what is no .svg or .png, or nowhere."""
    path = Path(path)
    if path.suffix.lower() not in KINDS:
        raise ConfigError(
            f"unknown kind of picture {path.suffix!r}", key="--plot", valid=KINDS, got=path.suffix
        )
    if not path.parent.is_dir():
        raise ConfigError(f"there is no directory {str(path.parent)!r}", key="--plot")
    need("matplotlib.figure", extra="plot", for_="A plot")
    return path


def draw(scenario: Scenario, runs: Mapping[str, Simulation], path: str | Path) -> None:
    """Draw what each balancer (label -> result) made of `scenario` into an .svg or .png file.

    Raises:
        ConfigError: another kind of file, or no such directory. ImportError: matplotlib is not installed.
    """
    path = checked_path(path)
    matplotlib: Any = need("matplotlib", extra="plot", for_="A plot")
    figures: Any = need("matplotlib.figure", extra="plot", for_="A plot")
    with matplotlib.rc_context(STYLE):
        subjects = _subjects(scenario)
        bars = len(runs) * len(scenario.endpoints)
        top = 0.9 + 0.2 * bars + 0.14 * len(runs)
        figure = figures.Figure(figsize=(9.2, top + (2.9 if subjects else 0.6)), layout="constrained")
        title = scenario.about or scenario.name or ""
        figure.suptitle(
            fill(title[:1].upper() + title[1:], TITLE),
            x=0.012,
            ha="left",
            fontsize=11.5,
            fontweight="bold",
            color=INK,
        )
        rows = figure.subfigures(2, 1, height_ratios=[top, 2.4]) if subjects else [figure.subfigures(1, 1)]
        left, right = rows[0].subplots(1, 2, sharey=True, width_ratios=[1.15, 1])
        _shares(left, scenario, runs)
        _latencies(right, runs)
        if subjects:
            _over_time(rows[1].subplots(), scenario, runs, subjects)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
        try:
            figure.savefig(path, dpi=150, facecolor="white", metadata=metadata)
        except OSError as error:
            raise ConfigError(
                f"{str(path)!r} cannot be written: {error.strerror or error}", key="--plot"
            ) from None


def _subjects(scenario: Scenario) -> list[str]:
    """The ids of the endpoints to which something happens on the way."""
    names = [g.id for g in scenario.endpoints if g.joins or g.drains or g.leaves]
    names += [fault.endpoint for fault in scenario.faults if fault.start or fault.end]
    return [id for name in dict.fromkeys(names) for id in scenario.ids_of(name)]


def _shares(axes: Axes, scenario: Scenario, runs: Mapping[str, Simulation]) -> None:
    groups = scenario.endpoints
    height = 0.8 / len(groups)
    most = 0.0
    for number, group in enumerate(groups):
        for row, result in enumerate(runs.values()):
            shares = [100.0 * result.share(id) for id in group.ids]
            mean, low, high = sum(shares) / len(shares), min(shares), max(shares)
            at = row - 0.4 + height * (number + 0.5)
            label = group.id if group.copies == 1 else f"{group.id} (each of {group.copies})"
            axes.barh(
                at,
                mean,
                height * 0.86,
                color=COLOURS[number % len(COLOURS)],
                label=None if row else label,
            )
            if group.copies > 1:
                axes.plot([low, high], [at, at], color=INK, linewidth=1.0, solid_capstyle="butt")
            axes.annotate(
                f"{mean:.2f} %" if mean < 2 else f"{mean:.1f} %",
                (max(mean, high), at),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            most = max(most, mean, high)
    axes.set_title("Share of the attempts, per endpoint")
    axes.set_yticks(range(len(runs)), list(runs))
    axes.set_ylim(len(runs) - 0.5, -0.5)
    axes.set_xlim(0, most * 1.2 or 1.0)
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    if len(groups) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.02), ncols=min(4, len(groups)), fontsize=8)
    axes.xaxis.tick_top()
    axes.spines["bottom"].set_visible(False)


def _latencies(axes: Axes, runs: Mapping[str, Simulation]) -> None:
    marks = ((0.5, "o", "p50"), (0.95, "s", "p95"), (0.99, "D", "p99"))
    for row, result in enumerate(runs.values()):
        seconds = [result.quantile(q) for q, _, _ in marks]
        if not isfinite(seconds[0]):
            axes.annotate("no answer", (0.02, row), xycoords=("axes fraction", "data"), va="center")
            continue
        axes.plot([seconds[0], seconds[-1]], [row, row], color=FAINT, linewidth=3.0, zorder=1)
        for (_, marker, label), value, colour in zip(marks, seconds, COLOURS[2:], strict=False):
            axes.scatter(
                value, row, marker=marker, s=30, color=colour, label=None if row else label, zorder=2
            )
        remembered = f"  {result.hit_ratio:.0%} hits" if isfinite(result.hit_ratio) else ""
        axes.annotate(
            _seconds(seconds[-1]) + remembered,
            (seconds[-1], row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_title("Seconds until the answer")
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.1, high * 1.6)  # room for the figure behind the last mark
    axes.xaxis.set_major_locator(_ticks())
    axes.xaxis.set_major_formatter(lambda value, place: _seconds(value))
    axes.xaxis.set_minor_formatter(lambda value, place: "")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, -0.02), ncols=3, fontsize=8)
    axes.xaxis.tick_top()
    axes.spines["bottom"].set_visible(False)


def _ticks() -> Any:
    ticker: Any = need("matplotlib.ticker", extra="plot", for_="A plot")
    return ticker.LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12)


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"


def _over_time(axes: Axes, scenario: Scenario, runs: Mapping[str, Simulation], subjects: list[str]) -> None:
    names = dict.fromkeys(g.id for g in scenario.endpoints if set(g.ids) & set(subjects))
    longest = max(result.seconds for result in runs.values()) or 1.0
    for number, (label, result) in enumerate(runs.items()):
        points = result.series(subjects, longest / STRETCHES)
        axes.plot(
            [at for at, _ in points],
            [100.0 * share for _, share in points],
            color=COLOURS[number % len(COLOURS)],
            linestyle="-" if number < len(COLOURS) else "--",
            linewidth=1.5,
            label=label,
        )
    for fault in scenario.faults:
        start, end = fault.when["start"], min(fault.when["end"], longest)
        if (fault.start or fault.end) and start < longest:
            axes.axvspan(start, end, color="#D55E00", alpha=0.08, linewidth=0)
            _mark(axes, start, fault.kind)
    for group in scenario.endpoints:
        for word in ("joins", "drains", "returns", "leaves"):
            at = getattr(group, word)
            if at is not None and at < longest:
                axes.axvline(at, color=INK, linewidth=0.8, linestyle=(0, (3, 3)))
                _mark(axes, at, word)
    axes.set_title(f"Share of {', '.join(names)} over time")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, longest)
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.xaxis.set_major_formatter("{x:g} s")
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=min(5, len(runs)), fontsize=8)


def _mark(axes: Axes, at: float, word: str) -> None:
    axes.annotate(
        word,
        (at, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3, -3),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=INK,
    )
