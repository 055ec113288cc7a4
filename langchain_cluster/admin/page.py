"""The dashboard: one file without a build step, and a policy that lets it load nothing but itself."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files


@cache
def page() -> str:
    """The page, as it is in the package."""
    return files(__package__).joinpath("dashboard.html").read_text(encoding="utf-8")


def _digest(tag: str) -> str:
    """What lets the page's one inline `tag` run, and no other."""
    inside = re.findall(rf"<{tag}>(.*?)</{tag}>", page(), re.DOTALL)
    (text,) = inside
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


CSP = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_digest('script')}",
        f"style-src {_digest('style')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
