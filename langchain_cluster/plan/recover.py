"""What happens when a stream breaks after its first token: fail, go on elsewhere, or never let it show.

Half an answer is never passed for a whole one. `buffer` keeps a stream back until it is whole, and so
can fail over at any point; `resume` hands chunks out at once, and asks for the same answer elsewhere when
it breaks. Whatever goes wrong then, the caller gets the error of the break, not that of the attempt to
mend it.
"""

from __future__ import annotations

from typing import Any

from langchain_cluster.errors import DeadlineExceeded
from langchain_cluster.model.call import Answer, Outcome, Resume, Verdict
from langchain_cluster.model.events import StreamResumed
from langchain_cluster.plan.effects import Open, Plan, Relay, Started
from langchain_cluster.plan.tries import Tries
from langchain_cluster.pool.members import Lease

PREFILL = "prefill"  # the ability to go on from a text that is given as the beginning of the answer


def deliver(tries: Tries, opened: Started, lease: Lease) -> Plan[Answer | Outcome]:
    """Hand a stream out that has begun, and settle its lease.

    Returns:
        The answer; or an outcome to go on from, when nothing of the stream was handed out.
    """
    recover, tries.cx.opened = tries.cx.policy.recover, opened
    lease.answering()
    outcome = yield from Relay(opened, recover == "buffer")
    lease.settle(outcome, now=tries.cx.now())
    if outcome.verdict is Verdict.OK:
        return tries.answer(outcome, lease, delivered=True)
    if recover == "buffer":
        return outcome
    broken = tries.interrupted(outcome, lease, opened)
    if recover != "resume":
        raise broken
    return (yield from resume(tries, lease, opened, broken))


def resume(tries: Tries, lease: Lease, opened: Started, broken: BaseException) -> Plan[Answer]:
    """Ask for the same answer elsewhere, and hand out what has not been. Raises `broken` if that fails."""
    delivered = opened.stream.delivered()
    parts: tuple[Any, ...] = (opened.stream.partial(),)
    while True:
        tries.tried.add(lease.endpoint.id)
        if delivered is None or not tries.may_try_again():
            raise tries.noted(broken)
        before = lease.endpoint.id
        try:
            lease = yield from tries.lease()
        except DeadlineExceeded:
            raise
        except Exception:
            raise tries.noted(broken) from broken.__cause__
        with lease:
            outcome, taken_over = yield from take_over(tries, lease, Resume(delivered, parts=parts), before)
            if differs(outcome) and PREFILL in (lease.endpoint.capabilities or ()) and tries.may_try_again():
                tries.report(outcome, lease)
                resumed = Resume(delivered, prefill=True, parts=parts)
                outcome, taken_over = yield from take_over(tries, lease, resumed, before)
            lease.settle(tries.blame(outcome), now=tries.cx.now())
        if outcome.verdict is Verdict.OK:
            return tries.answer(outcome, lease, delivered=True)
        so_far = delivered if taken_over is None else taken_over.stream.delivered()
        if taken_over is not None and so_far != delivered:
            broken, delivered = tries.interrupted(outcome, lease, taken_over), so_far
            parts = (*parts, taken_over.stream.partial())
            continue
        tries.report(outcome, lease)
        tries.check_deadline(tries.cx.now())
        if outcome.verdict is Verdict.CALLER or differs(outcome):
            raise tries.noted(broken)  # it would be so everywhere


def take_over(
    tries: Tries, lease: Lease, resume: Resume, before: str
) -> Plan[tuple[Outcome, Started | None]]:
    """Open a stream and hand out what is new of it: how it ended, and the stream if one began."""
    outcome = yield from Open(tries.attempt(lease), resume)
    if outcome.verdict is not Verdict.OK:
        return outcome, None
    opened: Started = outcome.value
    lease.answering()
    tries.cx.emit(StreamResumed(tries.cx.now(), before, lease.endpoint.id, resume.prefill))
    tries.cx.opened = opened
    outcome = yield from Relay(opened)
    return outcome, opened


def differs(outcome: Outcome) -> bool:
    """Whether the second answer was not the first one over again."""
    return outcome.verdict is Verdict.ABANDONED and not outcome.recalled
