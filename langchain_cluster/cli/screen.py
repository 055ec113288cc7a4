"""What is written where: tables and answers to stdout, complaints and remarks to stderr.

No colour where it would be read by a program (rich sees to that), and nothing a model or a file says
can move the cursor or change the window's title.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
PIPED_WIDTH = 200  # columns where there is no window whose width one could ask for


def console(*, stderr: bool = False) -> Console:
    """A console on today's stdout or stderr; made anew, for streams are exchanged under tests."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else PIPED_WIDTH)


def clean(text: str) -> str:
    """`text` without control characters, but for new lines and tabs."""
    return _CONTROL.sub("", text)


def one_line(error: BaseException | str) -> str:
    """What is wrong, on one line; the name of its kind where it says nothing."""
    text = " ".join(clean(str(error)).split())
    return text or type(error).__name__


def complain(error: BaseException | str) -> None:
    """One red line on stderr."""
    line = Text(f"error: {one_line(error)}", style="red")
    console(stderr=True).print(line, soft_wrap=True)


def remark(text: str, *, stderr: bool = False) -> None:
    """One dim line."""
    console(stderr=stderr).print(Text(clean(text), style="dim"), soft_wrap=True)


def print_json(data: Any) -> None:
    """For programs: plain ASCII, which every pipe can carry."""
    print(json.dumps(data, indent=2))
