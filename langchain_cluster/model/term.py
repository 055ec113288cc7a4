"""A stretch of being the one who does something for a whole fleet: a value."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Term:
    """What a holder has in hand.

    `token` is larger than that of every term before it. Whoever acts on a holder's behalf can refuse
    one that is smaller than the largest it has seen: a holder that was stopped for a while does not
    know yet that it is none any more (a fencing token, Kleppmann 2016). `until`: the moment it ends
    unless it is renewed, in the seconds that were handed in with `now`. `mark`: how the place that
    keeps the lease knows this term from others.
    """

    token: int
    until: float
    mark: str = field(default="", repr=False)
