"""Who shares the calls of one group, and how many calls all of them have in flight together.

A balancer that keeps endpoints within their part of all calls must know the sum, and to add it up among
a thousand endpoints takes longer than everything else about a call. So it is kept: the member that takes
a call, or gives it back, counts it here as well, under its own lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

_in_flight = attrgetter("in_flight")


class Peers:
    """The members of one group, the same tuple the balancer is handed, and their calls in flight."""

    __slots__ = ("_trusted", "in_flight", "members")

    def __init__(self, members: Sequence[Any] = ()) -> None:
        self.members = members
        self.in_flight = self._trusted = 0
        for member in members:
            with member.lock:  # what it counts from now on, it counts here
                member.peers = self
                self.in_flight += member.in_flight

    def recounted(self) -> int:
        """The calls in flight, added up anew once in as many times as there are members.

        Without Python's global lock two that count at one instant may be counted as one. A count that
        is not to be believed for ever costs no more per look, however many members there are.
        """
        self._trusted -= 1
        if self._trusted < 0:
            self._trusted = len(self.members)
            counts = map(_in_flight, self.members)
            # Read before it is added up, in C: nobody counts in between, and who does after is not lost.
            missed = -self.in_flight + sum(counts)
            self.in_flight += missed
        return self.in_flight
