"""Logistic regression with Gaussian priors by a damped Newton, and how sure it is (Laplace).

After Bishop, Pattern Recognition and Machine Learning (2006), 4.3.3 and 4.5. Damped, since full steps
overshoot where nearly all labels are alike, and then everything would be served.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Any

from langchain_cluster.extras import need

_STEPS = 50
_ENOUGH = 1e-6


def chance(logit: float) -> float:
    """The probability of a logit."""
    if logit >= 0:
        return 1.0 / (1.0 + exp(-logit))
    grown = exp(logit)
    return grown / (1.0 + grown)


def regression(
    rows: Any, right: Any, weights: Any, offsets: Any, *, means: Any, deviations: Any, start: Any
) -> tuple[Any, Any]:
    """The most likely coefficients, and their covariance.

    Args:
        rows: (n, d). right: (n,) 0 or 1. weights: (n,) > 0. offsets: (n,) of the logits.
        means, deviations: (d,) of the prior. start: (d,) where to begin.
    """
    numpy: Any = need("numpy", extra="semantic", for_="SemanticCache")
    prior = numpy.diag(1.0 / deviations**2)

    def loss(found: Any) -> float:
        logits = rows @ found + offsets
        misfit = weights * numpy.logaddexp(0.0, numpy.where(right > 0.5, -logits, logits))
        return float(misfit.sum() + 0.5 * (((found - means) / deviations) ** 2).sum())

    def curvature(found: Any) -> tuple[Any, Any]:
        odds = 0.5 * (1.0 + numpy.tanh(0.5 * (rows @ found + offsets)))
        slope = rows.T @ (weights * (odds - right)) + prior @ (found - means)
        return slope, (rows * (weights * odds * (1.0 - odds))[:, None]).T @ rows + prior

    found, now = numpy.array(start, float), loss(start)
    for _ in range(_STEPS):
        slope, curve = curvature(found)
        step, size = numpy.linalg.solve(curve, slope), 1.0
        while (then := loss(found - size * step)) > now - 1e-4 * size * float(slope @ step) and size > 1e-6:
            size /= 2.0
        if then > now:
            break
        found, gained, now = found - size * step, now - then, then
        if gained < _ENOUGH:
            break
    return found, numpy.linalg.inv(curvature(found)[1])


def offset(labels: Sequence[tuple[float, bool, float]], *, deviation: float) -> tuple[float, float]:
    """The most likely offset that logits have in common, and its variance.

    Args:
        labels: (logit without it, whether it was right, weight).
        deviation: of its prior, whose mean is 0.
    """
    found, precision = 0.0, 1.0 / deviation**2
    curve = precision
    for _ in range(_STEPS):
        slope, curve = found * precision, precision
        for logit, right, weight in labels:
            odds = chance(logit + found)
            slope += weight * (odds - right)
            curve += weight * odds * (1.0 - odds)
        step = max(-1.0, min(1.0, slope / curve))
        found -= step
        if abs(step) < 1e-4:
            break
    return found, 1.0 / curve
