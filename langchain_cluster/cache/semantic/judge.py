"""Which of the near entries may answer, if any: guards object, a policy decides, and learns from answers.

Used under the long lock of `Entries`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from langchain_cluster.cache.semantic.agreement import NEAR, agreement, same_answer
from langchain_cluster.cache.semantic.entries import Entries
from langchain_cluster.cache.semantic.entry import UNREAD, Candidate, Entry
from langchain_cluster.cache.semantic.guards import Guards
from langchain_cluster.cache.semantic.policy import Learned, ServePolicy


class Judge:
    """Guards and a policy.

    Args:
        policy: says what is near enough. guards: say what is another question.

    Attributes:
        guarded: objections by the guard's name.
    """

    def __init__(self, policy: ServePolicy, guards: Guards) -> None:
        self.policy, self.guards = policy, guards
        self.guarded: Counter[str] = Counter()

    def best(self, entries: Entries, text: str, vector: Any, scopes: Sequence[str]) -> Candidate | None:
        """The nearest entry of these scopes that no guard objects to."""
        found = (self._candidate(entries.near(scope, vector, NEAR), text) for scope in scopes)
        return max((one for one in found if one is not None), key=lambda one: one.score, default=None)

    def _candidate(self, near: Sequence[tuple[float, Entry]], text: str) -> Candidate | None:
        read: Any = UNREAD
        for score, entry in near:
            if score < self.policy.floor:
                break
            if read is UNREAD:
                read = self.guards.read(text)
            if entry.read is UNREAD:
                entry.read = self.guards.read(entry.text)
            objection = self.guards.objection(read, entry.read)
            if objection is None:
                votes = agreement(entry, score, near) if self.policy.learns else 0.0
                return Candidate(entry, score, votes)
            self.guarded[objection] += 1
        return None

    def compare(self, entries: Entries, fresh: Entry) -> None:
        """Learn from a new entry whether what is near it would have done."""
        if self.policy.learns:
            candidate = self.best(entries, fresh.text, fresh.vector, (fresh.scope,))
            if candidate is not None:
                self.policy.learn(candidate, same_answer(candidate.entry, fresh))

    @property
    def labels(self) -> int:
        """What the policy has learned from."""
        return self.policy.seen if isinstance(self.policy, Learned) else 0

    def state(self) -> dict[str, Any] | None:
        """What was learned, as JSON can hold it."""
        return self.policy.state() if isinstance(self.policy, Learned) else None

    def restore(self, learned: dict[str, Any] | None, entries: Entries) -> None:
        """Go on from a state."""
        if isinstance(self.policy, Learned) and learned is not None:
            self.policy.restore(learned, [entry.id for entry in entries.all()])
