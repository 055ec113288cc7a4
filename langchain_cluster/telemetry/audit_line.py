"""What an audit trail says of one call: made behind the calls, from what was left of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.endpoint import Endpoint, Role
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.describe import describe
from langchain_cluster.telemetry.metrics import outcome_of

Whose = tuple[str | None, str | None, Role, str | None]  # tenant, agent, what for, the tier it wants


class Lines:
    """Makes lines.

    Args:
        user: whose call a request was.
    """

    def __init__(self, user: Callable[[Request], str | None]) -> None:
        self._user = user
        self._models: WeakKeyDictionary[Endpoint, str | None] = WeakKeyDictionary()

    def line(
        self,
        now: float,
        whose: Whose,
        asked: Request | None,
        error: str | None,
        attempts: int,
        answer: Answer | None,
        last: str | None,
        endpoint: Endpoint | None,
    ) -> dict[str, Any]:
        """Who, what, how it ended, when (`now`, seconds since 1970); `asked` if `user` is to see it.

        Args:
            last: id of the endpoint that answered, else of the one that was asked last.
        """
        tenant, agent, role, tier = whose
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
            "tenant": tenant,
            "user": None if asked is None else self._user(asked),
            "agent": agent,
            "operation": role.value,
            "outcome": outcome_of(answer) if answer is not None else _failed(error),
            "error": error,
            "attempts": attempts,
            "tier": tier if answer is None else answer.tier,
            "endpoint": last,
            "model": None if endpoint is None else self._model_of(endpoint),
        }
        if answer is not None:
            told |= {
                "cache": answer.source,
                "input_tokens": None if answer.usage is None else answer.usage.input_tokens,
                "output_tokens": None if answer.usage is None else answer.usage.output_tokens,
                "cost_usd": answer.cost,
                "seconds": round(answer.seconds, 6),
            }
        return told

    def _model_of(self, endpoint: Endpoint) -> str | None:
        if endpoint not in self._models:
            self._models[endpoint] = describe(endpoint).get(names.REQUEST_MODEL)
        return self._models[endpoint]


def _failed(error: str | None) -> str:
    if error == "abandoned":
        return "abandoned"
    return outcome_of(type(error or "Exception", (Exception,), {})())
