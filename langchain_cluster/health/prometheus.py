"""The Prometheus text format, as far as gauges need it: names, labels, numbers.

Tolerant: a line that cannot be read is left out, and so is a number that is none or not finite.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite

_LINE = re.compile(r'\s*([a-zA-Z_:][\w:]*)\s*(\{(?:[^"}]|"(?:\\.|[^"\\])*")*\})?\s*(\S+)')
_LABEL = re.compile(r'([a-zA-Z_]\w*)\s*=\s*"((?:\\.|[^"\\])*)"')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: the labels, and the number."""

    labels: Mapping[str, str]
    value: float


def samples(text: str, names: Collection[str]) -> dict[str, list[Sample]]:
    """The samples of the metrics called `names`, in order; a metric without any is left out."""
    found: dict[str, list[Sample]] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or match[1] not in names:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if isfinite(value):
            found.setdefault(match[1], []).append(Sample(_labels(match[2] or ""), value))
    return found


def _labels(block: str) -> dict[str, str]:
    return {name: _ESCAPED.sub(_meant, value) for name, value in _LABEL.findall(block)}


def _meant(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]
