"""When are two texts the same for certain? Width, white space and how a sentence ends do not count.

Letters keep their case: "convert us dollars" is not "convert US dollars".
"""

from __future__ import annotations

import unicodedata

_ENDS = ".?!…。？！"


def normal(text: str) -> str:
    """The text in NFKC, with single spaces and without what ends its last sentence."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).rstrip(_ENDS + " ")
