"""A `Policy` as it is written in a file: the same names and defaults, with the wait as data."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from tenacity.stop import stop_after_attempt, stop_after_delay, stop_base, stop_before_delay
from tenacity.wait import (
    wait_base,
    wait_exponential,
    wait_fixed,
    wait_none,
    wait_random,
    wait_random_exponential,
)

from langchain_cluster.model.policy import Policy
from langchain_cluster.model.strict import Seconds, Strict


class _Growing(Strict):
    multiplier: Seconds = 0.25
    base: float = Field(2.0, ge=1, strict=True, allow_inf_nan=False)
    min: Seconds | None = None
    max: Seconds = 10.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} s is longer than max {self.max:g} s")
        return self


class RandomExponential(_Growing):
    """By chance between `min` and `multiplier` times `base` to the number of tries, at most `max`."""

    kind: Literal["random_exponential"] = "random_exponential"

    def strategy(self) -> wait_base:
        """The tenacity strategy."""
        return wait_random_exponential(self.multiplier, self.max, self.base, self.min or 0.0)


class Exponential(_Growing):
    """`multiplier` times `base` to the number of tries, at least `min` and at most `max`."""

    kind: Literal["exponential"] = "exponential"

    def strategy(self) -> wait_base:
        """The tenacity strategy."""
        return wait_exponential(self.multiplier, self.max, self.base, self.min or 0.0)


class Fixed(Strict):
    """Always the same time."""

    kind: Literal["fixed"] = "fixed"
    seconds: Seconds

    def strategy(self) -> wait_base:
        """The tenacity strategy."""
        return wait_fixed(self.seconds)


class Uniform(Strict):
    """By chance between `min` and `max`."""

    kind: Literal["random"] = "random"
    min: Seconds | None = None
    max: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} s is longer than max {self.max:g} s")
        return self

    def strategy(self) -> wait_base:
        """The tenacity strategy."""
        return wait_random(self.min or 0.0, self.max)


Wait = Annotated[RandomExponential | Exponential | Fixed | Uniform, Field(discriminator="kind")]


class AfterAttempt(Strict):
    """No more after so many tries."""

    kind: Literal["after_attempt"] = "after_attempt"
    attempts: int = Field(ge=1, strict=True)

    def strategy(self) -> stop_base:
        """The tenacity strategy."""
        return stop_after_attempt(self.attempts)


class AfterDelay(Strict):
    """No more once the call has taken so long."""

    kind: Literal["after_delay"] = "after_delay"
    seconds: Seconds

    def strategy(self) -> stop_base:
        """The tenacity strategy."""
        return stop_after_delay(self.seconds)


class BeforeDelay(Strict):
    """No more when the wait for it would end later than so long after the call began."""

    kind: Literal["before_delay"] = "before_delay"
    seconds: Seconds

    def strategy(self) -> stop_base:
        """The tenacity strategy."""
        return stop_before_delay(self.seconds)


Stop = Annotated[AfterAttempt | AfterDelay | BeforeDelay, Field(discriminator="kind")]


class PolicyConfig(Policy):
    """What one call may cost in tries and time; durations in seconds or as "15s", null switches off."""

    wait: Wait | None = Field(default_factory=RandomExponential)  # type: ignore[assignment]  # data, not a callable
    stop: Stop | None = None  # type: ignore[assignment]

    def policy(self) -> Policy:
        """The policy itself. No wait at all for `wait: null`."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"wait", "stop"}}
        if self.stop is not None:
            given["stop"] = self.stop.strategy()
        if "wait" in self.model_fields_set:
            given["wait"] = wait_none() if self.wait is None else self.wait.strategy()
        return Policy(**given)
