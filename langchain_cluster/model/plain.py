"""What may be repeated of an error that somebody else wrote: its kind, and its text only if it says nothing.

Providers quote. An error's text may hold the question, the answer, or the key that was sent, and what we
repeat of it goes into notes, events, logs and pages that are kept and shown. What is secret in a text
cannot be told from what is not, so it goes the other way round: a text is repeated when every word of it
is one that errors of networks and servers are made of. Whoever needs the rest has the error itself.
"""

from __future__ import annotations

import re

_HARMLESS = """
a aborted access active address after again all allowed already an and any api application are as associated
at attempt attempts authentication authorization available back bad be because been before billing body
broken by call cannot certificate chunked client close closed code complete completed connect connected
connecting connection connections content context could currently database deadline declined denied
deprecated descriptor did disabled disconnected dns does down during either empty encountered end
endpoint error errors establish event exceeded exhausted expected expired failed failure filter for
forbidden found from full gateway handshake has have high host hostname http https id in incomplete
incorrect input insufficient internal interrupted invalid is it json key known large later length limit
limited limits load loading lookup loop lost malformed many max maximum memory message method missing
model models moment must name nested network no nobody nodename none nor not of on open operation or
organization out output overload overloaded parameter parameters payload peer per permission permissions
permitted pipe please policy pool port process processing prompt protocol provided proxy quota rate
reached read ready receive received receiving refused reject rejected remote remotely request requests
required reset resolution resolve resource response retries retry route running seconds send sending
server service servname session shutdown silent slow socket ssl started still stream supported system
temporarily temporary terminated that the this throttled time timed timeout tls to token tokens too try
type unable unauthorized unavailable unexpected unexpectedly unknown unreachable unsupported until
upstream url usage use user valid value verify violation was while with within without write wrong your
"""
_WORDS = frozenset(_HARMLESS.split())
_WORD = re.compile(r"[^\W_]+")
LONGEST = 200  # characters


def plain(text: str) -> str:
    """The same text on one line, if it says nothing but that something failed; else an empty one."""
    line = " ".join(text.split())
    if len(line) > LONGEST or not all(word in _WORDS for word in _WORD.findall(line.lower())):
        return ""
    return line


def kind_of(error: BaseException, status: int | None = None, code: str | None = None) -> str:
    """An error in a few words: `429 RateLimitError (insufficient_quota)`, `ConnectionError: refused`.

    Args:
        status: of HTTP. code: the provider's own; shown when it is made of plain words.
    """
    kind = type(error).__name__ if status is None else f"{status} {type(error).__name__}"
    if code and plain(code):
        kind = f"{kind} ({code})"
    text = plain(str(error)) or _of_the_system(error)
    return f"{kind}: {text}" if text else kind


def _of_the_system(error: BaseException | None) -> str:
    """What the operating system said, where that is at the bottom of it: clients wrap it."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, OSError) and error.strerror and (text := plain(str(error.strerror))):
            return text
        error, seen = error.__cause__ or error.__context__, seen + 1
    return ""
