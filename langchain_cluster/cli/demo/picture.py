"""The picture of a run: an SVG file that loads nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

# rich's own template fetches a font from a content network; any monospaced one will do.
_FONT_FACE = re.compile(r"\s*@font-face \{\{.*?\}\}\n", re.DOTALL)
_FONTS = "Fira Code, Cascadia Mono, Menlo, DejaVu Sans Mono, monospace"


def write(console: Console, path: Path) -> None:
    """What `console` recorded, as SVG. Raises OSError."""
    form = _FONT_FACE.sub("\n", CONSOLE_SVG_FORMAT).replace("Fira Code, monospace", _FONTS)
    path.write_text(console.export_svg(title="langchain-cluster demo", code_format=form), encoding="utf-8")
