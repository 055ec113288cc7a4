"""Pick, ask, judge; then elsewhere at once, the same place after a wait, or give up."""

from __future__ import annotations

from langchain_cluster.model.call import Answer, Request, Verdict
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Call, Open, Plan
from langchain_cluster.plan.recover import deliver
from langchain_cluster.plan.tries import Tries


def ask(request: Request, cx: Context, started: float, source: str) -> Plan[Answer]:
    """Ask until somebody gives a whole answer, or there is a reason to stop."""
    tries = Tries(request, cx, started, source)
    while True:
        lease = yield from tries.lease()
        with lease:
            outcome = tries.heard((yield from Call(tries.attempt(lease))), lease)
            lease.settle(tries.blame(outcome), now=cx.now())
        if outcome.verdict is Verdict.OK:
            return tries.answer(outcome, lease)
        yield from tries.go_on(outcome, lease)


def ask_stream(request: Request, cx: Context, started: float, source: str) -> Plan[Answer]:
    """Ask for a stream; fail over until one has delivered its first token, then stay with it."""
    tries = Tries(request, cx, started, source)
    while True:
        lease = yield from tries.lease()
        with lease:
            outcome = tries.heard((yield from Open(tries.attempt(lease))), lease)
            if outcome.verdict is Verdict.OK:
                ended = yield from deliver(tries, outcome.value, lease)
                if isinstance(ended, Answer):
                    return ended
                outcome = ended
            else:
                lease.settle(tries.blame(outcome), now=cx.now())
        yield from tries.go_on(outcome, lease)
