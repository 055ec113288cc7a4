"""Learns which candidates are right, and serves those that are wrong seldom enough.

A cosine means something else for every set of questions, and even for every question: so the threshold
is learned. The logit that a candidate's answer is right is w·x + u, with x = [1, 10 (cosine - 0.85),
agreement of the other near entries] and an offset u for its entry, both with Gaussian priors; what is not
known well is widened by the variances of a Laplace approximation. It is served when the lower bound of
that logit is above that of the demand.

Labels cost nothing: every miss that had a candidate tells afterwards whether that would have done. Hits
tell nothing by themselves, so a few of them are asked again beside the call, and each of those counts for
all it stands for. Before `EVIDENCE` labels nothing is served, whatever the prior believes.

The idea of an offset per entry is that of vCache (Schroeder et al., 2025); sharing what is known among
entries is what makes it serve early.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import log, sqrt
from typing import Any

from langchain_cluster.cache.semantic.entry import Candidate
from langchain_cluster.cache.semantic.policy.logit import chance, offset, regression
from langchain_cluster.extras import need

FLOOR = 0.6  # cosine: below it hardly anything is right
EVIDENCE = 50  # labels before anything is served
_MEANS, _DEVIATIONS = (0.5, 1.5, 1.0), (1.5, 0.75, 1.0)
_ENTRY = 1.5  # standard deviation of an entry's offset
_SURE = 0.5  # standard deviations that the bound lies below the logit
_REFITS = (50, 100, 200, 350)  # labels at which the shared coefficients are worked out anew ...
_EVERY = 500  # ... and then after each so many
_REMEMBERED = 8_000  # labels they are worked out from
_OWN = 32  # labels an entry's offset is worked out from
# The demand is on an average over all hits, most of which are far better than the one that is just let
# in: so that one may be wrong this many times as often. Measured; see docs/semantic-cache.md.
MARGIN = 3.75

# Hits that are likelier wrong are checked more often, with the square root of the likelihood: what is then
# found has the least variance for as many checks (Neyman, On the two different aspects of the
# representative method, 1934). Bounded, since a failed check of a hit that is hardly ever checked weighs
# for all of those.
LEAST, MOST, POWER = 0.75, 4.0, 0.5
RISK_STEP = 0.02  # how much of the likelihood's mean one hit is
Features = tuple[float, float, float]


class Learned:
    """Wrong per hit at most about `error_rate`, in the long run.

    Args:
        error_rate: wrong answers per hit, above 0 and below 0.2.
        floor: cosine below which nothing is a candidate.
    """

    learns = True

    def __init__(self, error_rate: float, *, floor: float = FLOOR) -> None:
        numpy: Any = need("numpy", extra="semantic", for_="SemanticCache")
        self._numpy = numpy
        self.error_rate, self.floor = error_rate, floor
        worst = min(0.5, MARGIN * error_rate)
        self._bar = log((1.0 - worst) / worst)
        self._means, self._deviations = numpy.array(_MEANS), numpy.array(_DEVIATIONS)
        self._shared: Any = self._means.copy()
        self._covariance: Any = numpy.diag(self._deviations**2)
        self._labels: deque[tuple[Features, bool, float, int]] = deque(maxlen=_REMEMBERED)
        self._of: dict[int, deque[tuple[Features, bool, float]]] = {}
        self._offsets: dict[int, tuple[float, float]] = {}
        self.seen = 0
        self._fitted = 0
        self._risk = error_rate

    def serves(self, candidate: Candidate) -> bool:
        """Whether even the lower bound of its logit is above the bar."""
        return self.seen >= EVIDENCE and self._bound(candidate) > self._bar

    def share_of_checks(self, candidate: Candidate) -> float:
        """More often the likelier it is wrong: what is found there weighs less, and tells more."""
        risk = 1.0 - chance(self._bound(candidate))
        self._risk += (risk - self._risk) * RISK_STEP
        return max(LEAST, min(MOST, float((risk / self._risk) ** POWER)))

    def _bound(self, candidate: Candidate) -> float:
        """The lower bound of its logit."""
        row = features(candidate)
        own, variance = self._offset(candidate.entry.id)
        array = self._numpy.array(row)
        spread = float(array @ self._covariance @ array) + variance
        return self._logit(row) + own - _SURE * sqrt(max(0.0, spread))

    def learn(self, candidate: Candidate, right: bool, weight: float = 1.0) -> None:
        """One more label."""
        row, id = features(candidate), candidate.entry.id
        self._labels.append((row, right, weight, id))
        self._of.setdefault(id, deque(maxlen=_OWN)).append((row, right, weight))
        self._offsets.pop(id, None)
        self.seen += 1
        due = next((n for n in _REFITS if n > self._fitted), self._fitted + _EVERY)
        if self.seen >= due:
            self.refit()

    def refit(self) -> None:
        """Work the shared coefficients out anew."""
        numpy = self._numpy
        rows = numpy.array([label[0] for label in self._labels])
        right = numpy.array([float(label[1]) for label in self._labels])
        weights = numpy.array([label[2] for label in self._labels])
        offsets = numpy.array([self._offset(label[3])[0] for label in self._labels])
        self._shared, self._covariance = regression(
            rows,
            right,
            weights,
            offsets,
            means=self._means,
            deviations=self._deviations,
            start=self._shared,
        )
        self._offsets.clear()  # they are relative to the shared part, and worked out when they are asked for
        self._fitted = self.seen

    def forget(self, id: int) -> None:
        """An entry is gone; what it taught about all of them stays."""
        self._of.pop(id, None)
        self._offsets.pop(id, None)

    def _logit(self, row: Features) -> float:
        bias, slope, agreement = self._shared
        return float(bias * row[0] + slope * row[1] + agreement * row[2])

    def _offset(self, id: int) -> tuple[float, float]:
        known = self._offsets.get(id)
        if known is None:
            labels = [(self._logit(row), right, weight) for row, right, weight in self._of.get(id, ())]
            known = self._offsets[id] = offset(labels, deviation=_ENTRY)
        return known

    # -- across restarts ----------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All it knows, as JSON can hold it."""
        return {
            "seen": self.seen,
            "labels": [[*row, right, weight, id] for row, right, weight, id in self._labels],
            "own": {
                str(id): [[*row, right, weight] for row, right, weight in own] for id, own in self._of.items()
            },
        }

    def restore(self, state: dict[str, Any], known: Iterable[int]) -> None:
        """Go on from there. Offsets of entries that are not `known` any more are left out.

        Raises:
            KeyError, TypeError, ValueError: it is no such state.
        """
        labels = [
            ((float(a), float(b), float(c)), bool(right), float(weight), int(id))
            for a, b, c, right, weight, id in state["labels"]
        ]
        here = set(known)
        own = {
            int(id): deque(
                (((float(a), float(b), float(c)), bool(right), float(w)) for a, b, c, right, w in rows), _OWN
            )
            for id, rows in state["own"].items()
            if int(id) in here
        }
        self._labels = deque(labels, maxlen=_REMEMBERED)
        self._of, self.seen = own, int(state["seen"])
        self._offsets.clear()
        if self._labels and self.seen >= _REFITS[0]:
            self.refit()

    def __repr__(self) -> str:
        known = "nothing served yet" if self.seen < EVIDENCE else f"{self.seen} labels"
        return f"<Learned error_rate {self.error_rate:g}, {known}>"


def features(candidate: Candidate) -> Features:
    """What the logit is linear in."""
    return 1.0, 10.0 * (candidate.score - 0.85), candidate.agreement
