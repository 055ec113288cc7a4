"""Which keys does a pattern mean? The same ones in every store, whatever its server thinks of globs.

`*` is any run of characters, `?` any one character, `[abc]` and `[a-z]` one of these, `[!abc]` one of the
others; everything else is itself, `[*]` is a star. That is Python's `fnmatch`, case and newlines counting.
Redis' globs differ: they count bytes, negate with `^` and quote with a backslash. So a server is asked for
a pattern that means at least these keys (`wider`), and what it names is looked at here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache

_SPECIAL = re.compile(r"[\\*?\[\]^-]")


@lru_cache(maxsize=64)
def matcher(pattern: str) -> Callable[[str], object]:
    """A function that tells whether a key is meant."""
    if pattern.strip("*") == "" and pattern:
        return lambda key: True
    return re.compile(translate(pattern)).match


def wider(prefix: str, pattern: str) -> str:
    """A Redis glob that means at least the keys `prefix` + what `pattern` means."""
    literal, bracket, _ = pattern.partition("[")
    simple = re.sub(r"[*?]+", "*", literal + ("*" if bracket else ""))
    return quoted(prefix) + "*".join(quoted(part) for part in simple.split("*"))


def quoted(text: str) -> str:
    """A text as a Redis glob that means only itself."""
    return _SPECIAL.sub(r"\\\g<0>", text)
