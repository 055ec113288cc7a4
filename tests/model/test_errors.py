"""Every exception: its text, what it carries, what it is, and that it survives a copy and a pickle."""

from __future__ import annotations

import copy
import pickle

import pytest
from langchain_core.exceptions import ModelError

from langchain_cluster.errors import (
    BudgetExceeded,
    ClusterError,
    ClusterExhausted,
    ConfigError,
    DeadlineExceeded,
    NoEndpointAvailable,
    Overloaded,
    PluginError,
    StreamInterrupted,
)
from langchain_cluster.model.call import AttemptReport, Verdict

REPORTS = (
    AttemptReport(1, "a", Verdict.TRANSIENT, 0.5, "refused", OSError("refused")),
    AttemptReport(2, "b", Verdict.THROTTLED, 1.0, "throttled"),
)
TOLD = "attempt 1 on a: refused after 0.5 s; attempt 2 on b: throttled after 1.0 s"

ONE_OF_EACH = [
    ConfigError("is wrong", file="c.yaml", key="a.b", valid=["x"], got="x"),
    NoEndpointAvailable(retry_after=2.0, why={"a": "offline"}),
    ClusterExhausted(REPORTS),
    Overloaded("full", retry_after=1.0),
    BudgetExceeded("tenant x", limit=5.0, spent=5.5, resets_at=100.0),
    DeadlineExceeded(30.0, REPORTS),
    StreamInterrupted("a", "reset", partial="so far"),
    PluginError("balancer", "p3c", ["p2c"]),
]
each = pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)


@each
def test_all_are_cluster_errors(error: ClusterError) -> None:
    assert isinstance(error, ClusterError)


def test_a_deadline_that_is_over_is_not_given_again() -> None:
    assert issubclass(DeadlineExceeded, ModelError)
    assert DeadlineExceeded.is_retryable is False


@pytest.mark.parametrize("kind", [NoEndpointAvailable, ClusterExhausted])
def test_what_was_retried_here_is_not_retried_above(kind: type[ClusterError]) -> None:
    """LangChain's middleware retries a retryable ModelError, LangGraph whatever is no RuntimeError."""
    assert issubclass(kind, ModelError)
    assert issubclass(kind, RuntimeError)
    assert kind.is_retryable is False  # type: ignore[attr-defined]


def test_each_is_what_its_readers_catch() -> None:
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert issubclass(ConfigError, ValueError)
    assert issubclass(PluginError, ConfigError)
    for kind in (Overloaded, BudgetExceeded, StreamInterrupted):
        assert not issubclass(kind, ModelError | TimeoutError | ValueError)


def test_a_config_error_names_the_place_and_what_would_be_valid() -> None:
    error = ConfigError(
        'balancer.kind = "p3c"', file="cluster.yaml", key="balancer", valid=["p2c", "random"], got="p3c"
    )
    assert str(error) == (
        "cluster.yaml: balancer: balancer.kind = \"p3c\": expected one of p2c, random; did you mean 'p2c'?"
    )
    assert (error.file, error.key, error.valid) == ("cluster.yaml", "balancer", ("p2c", "random"))
    assert error.problem == 'balancer.kind = "p3c"'


def test_a_config_error_says_no_more_than_it_knows() -> None:
    assert str(ConfigError("is wrong")) == "is wrong"
    assert str(ConfigError("is wrong", key="a")) == "a: is wrong"
    assert str(ConfigError("is wrong", file="f")) == "f: is wrong"
    assert str(ConfigError("is wrong", valid=["x", "y"])) == "is wrong: expected one of x, y"
    assert str(ConfigError("is wrong", valid=["x"], got="qqq")) == "is wrong: expected one of x"


def test_nobody_available_says_why_and_until_when() -> None:
    error = NoEndpointAvailable(retry_after=2.04, why={"a": "offline", "b": "weight 0"})
    assert str(error) == (
        "no endpoint available (a: offline; b: weight 0); the first may be asked again in 2.0 s"
    )
    assert error.retry_after == 2.04
    assert error.why == {"a": "offline", "b": "weight 0"}


def test_nobody_available_without_facts_is_short() -> None:
    error = NoEndpointAvailable("the pool is empty")
    assert (str(error), error.retry_after, error.why) == ("the pool is empty", None, {})
    assert "in 0.0 s" in str(NoEndpointAvailable(retry_after=0.0))


def test_nobody_of_many_available_is_still_a_short_text() -> None:
    why = {f"e{n}": "offline" for n in range(20)}
    error = NoEndpointAvailable(why=why)
    assert str(error).endswith("e7: offline; and 12 more)")
    assert error.why == why
    assert "more" not in str(NoEndpointAvailable(why=dict(list(why.items())[:8])))


def test_exhausted_tells_every_attempt() -> None:
    error = ClusterExhausted(list(REPORTS))
    assert str(error) == f"no endpoint gave a complete answer: {TOLD}"
    assert error.attempts == REPORTS
    assert str(ClusterExhausted(REPORTS, "other words")) == "other words"


def test_a_deadline_tells_the_time_and_the_attempts() -> None:
    error = DeadlineExceeded(30.0, list(REPORTS))
    assert str(error) == f"no complete answer within 30 s: {TOLD}"
    assert (error.after, error.attempts) == (30.0, REPORTS)
    assert str(DeadlineExceeded(0.5)) == "no complete answer within 0.5 s: nobody was asked"


def test_the_others_tell_what_they_carry() -> None:
    assert str(Overloaded()) == "overloaded"
    assert Overloaded("full", retry_after=3.0).retry_after == 3.0
    budget = BudgetExceeded("tenant x", limit=5.0, spent=5.5, resets_at=9.0)
    assert str(budget) == (
        "budget of tenant x is spent: 5.5 of 5 USD; it begins anew at 1970-01-01 00:00:09 UTC"
    )
    assert str(BudgetExceeded("cluster", limit=5.0, spent=1.0)) == (
        "budget of cluster has too little left for this call: 1 of 5 USD"
    )
    assert str(BudgetExceeded("cluster", limit=5.0, spent=1.0, held=4.5)) == (
        "budget of cluster is spent: 1 of 5 USD, and 4.5 set aside for calls under way"
    )
    assert str(BudgetExceeded("cluster", limit=5.0, spent=5.0, resets_at=1e18)).endswith("1e+18 s after 1970")
    assert (budget.scope, budget.limit, budget.spent, budget.resets_at) == ("tenant x", 5.0, 5.5, 9.0)
    broken = StreamInterrupted("gpu-1", "reset", partial="so far")
    assert str(broken) == "the stream of gpu-1 broke after its first token: reset"
    assert (broken.endpoint, broken.partial) == ("gpu-1", "so far")


def test_an_unknown_plugin_is_told_the_nearest() -> None:
    error = PluginError("balancer", "peak_ema", ["round_robin", "peak_ewma"])
    assert str(error) == (
        "unknown balancer 'peak_ema': expected one of peak_ewma, round_robin; did you mean 'peak_ewma'?"
    )
    assert (error.kind, error.available) == ("peak_ema", ("round_robin", "peak_ewma"))


@each
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_it_survives_being_copied_and_sent(error: ClusterError, again: object) -> None:
    """Process pools, task queues and checkpointers send exceptions on."""
    error.add_note("a note")
    twin = again(error)  # type: ignore[operator]
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert twin.__notes__ == error.__notes__
    for name, value in vars(error).items():
        got = getattr(twin, name)
        assert repr(got) == repr(value), name
