"""How much may be asked in any minute: of an endpoint, and of all that share its quota, reserved together.

Why a log of spans and not a token bucket? A bucket of 60 lets 60 through at once and 60 more within the
next minute: twice what the provider allows in the window that straddles both. Here what was taken at one
moment is missing for exactly a minute. What is taken within a quarter of a second is kept as one span,
which leaves when its last part does: a minute is at most 241 spans, whatever the limit.

What a call will take is not known before it ends. So it is reserved from an estimate first, in one step
with looking whether it fits, and settled afterwards with what was really used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from math import inf
from threading import Lock

from langchain_cluster.guard.expected import Expected
from langchain_cluster.model.call import Outcome, Request, Verdict
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.policy import Quota
from langchain_cluster.model.scope import Scope

MINUTE = 60.0  # seconds: what "per minute" means
OUT_OF_ORDER = 1.0  # seconds by which threads may come with their times out of order
GRAIN = 0.25  # seconds: what is taken within is kept together
_NOTHING_USED = frozenset({Verdict.THROTTLED, Verdict.CONFIG, Verdict.CALLER, Verdict.OVERFLOW})


class Span:
    """What was taken within a moment, and when the last of it was."""

    __slots__ = ("amount", "first", "gone", "last")

    def __init__(self, now: float) -> None:
        self.first = self.last = now
        self.amount = 0.0
        self.gone = False


class RateWindow:
    """At most `limit` in any 60 seconds. Not locked: its owner is.

    Args:
        limit: how much, >= 0; 0 lets nothing through. It may be changed at any time.

    Attributes:
        used: what of the limit is taken now, since something was last asked of this window.
        out: (when others will have left room for so much, or more than that), as they were last asked.
    """

    __slots__ = ("_spans", "limit", "out", "used")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.used = 0.0
        self.out = (0.0, 0.0)
        self._spans: deque[Span] = deque()

    def _forget(self, now: float) -> None:
        if self._spans and self._spans[-1].last > now + OUT_OF_ORDER:
            for span in self._spans:  # the clock went back: what was taken is missing for a minute from now
                span.first, span.last = min(span.first, now), min(span.last, now)
            self.out = (0.0, 0.0)
        while self._spans and self._spans[0].last + MINUTE <= now:
            span = self._spans.popleft()
            span.gone = True
            self.used -= span.amount
        if not self._spans:
            self.used = 0.0  # no rest of sums of fractions

    def free_at(self, amount: float, now: float) -> float:
        """When `amount` will fit, seconds; `now` if it does, infinity if it never will.

        More than the whole limit fits when nothing else is taken.
        """
        if self.limit <= 0:
            return inf
        until, least = self.out
        if now < until and amount >= least:
            return max(until, self._free_at(amount, now))
        return self._free_at(amount, now)

    def _free_at(self, amount: float, now: float) -> float:
        self._forget(now)
        over = self.used + min(amount, self.limit) - self.limit
        if over <= 0:
            return now
        for span in self._spans:
            over -= span.amount
            if over <= 0:
                return span.last + MINUTE
        return self._spans[-1].last + MINUTE

    def take(self, amount: float, now: float) -> Span:
        """Take `amount`, whether it fits or not."""
        self._forget(now)
        span = self._spans[-1] if self._spans else None
        if span is None or not now - span.first < GRAIN:
            span = Span(now)
            self._spans.append(span)
        span.last = max(span.last, now)  # threads may come with their times out of order
        span.amount += amount
        self.used += amount
        return span

    def give_back(self, span: Span, amount: float) -> None:
        """Take `amount` less than was taken with `span`; does nothing once that has left the window."""
        if not span.gone:
            span.amount -= amount
            self.used -= amount

    def left(self, now: float) -> float:
        """How much may still be taken now; never below 0."""
        self._forget(now)
        return max(0.0, self.limit - self.used)

    def __repr__(self) -> str:
        return f"<RateWindow {self.used:g} of {self.limit:g} a minute>"


class Rates:
    """What one endpoint may be asked in a minute, with what its quota group may be. Changed under `lock`.

    Attributes:
        requests, tokens: windows every call counts in: the endpoint's own, then its group's.
        scopes: the same limits, whole, for those who share them with other processes.
    """

    __slots__ = ("expected", "lock", "requests", "scopes", "tokens")

    def __init__(
        self,
        lock: Lock,
        requests: tuple[RateWindow, ...] = (),
        tokens: tuple[RateWindow, ...] = (),
        scopes: tuple[Scope, ...] = (),
    ) -> None:
        self.lock, self.requests, self.tokens, self.scopes = lock, requests, tokens, scopes
        self.expected = Expected()

    def free_at(self, request: Request, now: float) -> float:
        """When `request` will be within every limit, seconds; `now` if it is."""
        with self.lock:
            return self._free_at(sum(self.expected.of(request)) if self.tokens else 0.0, now)

    def _free_at(self, tokens: float, now: float) -> float:
        at = now
        for window in self.requests:
            at = max(at, window.free_at(1.0, now))
        for window in self.tokens:
            at = max(at, window.free_at(tokens, now))
        return at

    def reserve(self, request: Request, now: float) -> Reservation | None:
        """Take what `request` is expected to need from every window, or from none: then None."""
        prompt, answer = self.expected.of(request) if self.tokens else (0.0, 0.0)
        with self.lock:
            if self._free_at(prompt + answer, now) > now:
                return None
            return Reservation(self, request, prompt, answer, now)

    def counts(self, now: float) -> dict[str, tuple[float, float]]:
        """ "rpm" and "tpm" -> (used, limit) of the tightest window, where there is one."""
        with self.lock:
            found = {}
            for name, windows in (("rpm", self.requests), ("tpm", self.tokens)):
                if windows:
                    tightest = min(windows, key=lambda window: window.left(now))
                    found[name] = (tightest.used, tightest.limit)
            return found

    def __repr__(self) -> str:
        return f"<Rates {[*self.requests, *self.tokens]}>"


class Reservation:
    """What one call was let take, until it is settled with what it really took; once.

    Attributes:
        ended: told, not under a lock, how many tokens were used, or None when nobody was asked.
    """

    __slots__ = ("_open", "_rates", "_request", "_requests", "_tokens", "answer", "ended", "prompt")

    def __init__(self, rates: Rates, request: Request, prompt: float, answer: float, now: float) -> None:
        self._rates, self._request, self._open = rates, request, True
        self.prompt, self.answer = prompt, answer
        self.ended: Callable[[float | None], None] | None = None
        self._requests = [(window, window.take(1.0, now)) for window in rates.requests]
        self._tokens = [(window, window.take(prompt + answer, now)) for window in rates.tokens]

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Where it was taken."""
        return self._rates.scopes

    def settle(self, outcome: Outcome, now: float) -> None:
        """Give back what was not used, take what was used beyond: that counts from `now`.

        Who refuses uses no tokens. Of a call that was abandoned, or failed half-way, only the prompt is
        known to have been used. An answer that does not say is taken to be as it was expected.
        """
        with self._rates.lock:
            if not self._open:
                return
            self._open = False
            if self._tokens:
                self._rates.expected.learn(self._request, outcome)
            used = self._used(outcome)
            over = used - self.prompt - self.answer
            for window, span in self._tokens:
                if over < 0:
                    window.give_back(span, -over)
                    window.out = (0.0, 0.0)  # there may be room with the others too
                elif over > 0:
                    window.take(over, now)
        if self.ended is not None and self._tokens:
            self.ended(used)

    def cancel(self) -> None:
        """Nobody was asked: everything is given back, the call itself too."""
        with self._rates.lock:
            if not self._open:
                return
            self._open = False
            for window, span in self._requests:
                window.give_back(span, 1.0)
            for window, span in self._tokens:
                window.give_back(span, self.prompt + self.answer)
        if self.ended is not None:
            self.ended(None)

    def _used(self, outcome: Outcome) -> float:
        usage = outcome.usage
        if usage is not None:
            return float(usage.input_tokens + usage.output_tokens)
        if outcome.verdict is Verdict.OK:
            return self.prompt + self.answer
        return 0.0 if outcome.verdict in _NOTHING_USED else self.prompt


class RateLimits:
    """The windows of a pool. They outlive their endpoint: one that leaves and comes back has the same.

    Args:
        quotas: quota group -> what all its endpoints may be asked together.
    """

    def __init__(self, quotas: Mapping[str, Quota] | None = None) -> None:
        self.lock = Lock()
        self.quotas = dict(quotas or {})
        self.parts = 1  # among how many processes every limit is divided
        self._whole: dict[tuple[str, str, str], float] = {}
        self._windows: dict[tuple[str, str, str], RateWindow] = {}

    def of(self, endpoint: Endpoint, before: Rates | None = None) -> Rates | None:
        """The rates of `endpoint` as it is described now, None without any limit.

        Args:
            before: what it had until now, for what was learnt of its answers.
        """
        own, group = endpoint.capacity, self.quotas.get(endpoint.quota_group or "")
        limits = [("endpoint", endpoint.id, own.max_rpm, own.max_tpm)]
        if group is not None and endpoint.quota_group is not None:
            limits.append(("group", endpoint.quota_group, group.max_rpm, group.max_tpm))
        if all(rpm is None and tpm is None for _, _, rpm, tpm in limits):
            return None
        with self.lock:
            requests = [
                self._window(("rpm", of, name), rpm) for of, name, rpm, _ in limits if rpm is not None
            ]
            tokens = [self._window(("tpm", of, name), tpm) for of, name, _, tpm in limits if tpm is not None]
        scopes = [Scope(*limit) for limit in limits if limit[2] is not None or limit[3] is not None]
        rates = Rates(self.lock, tuple(requests), tuple(tokens), tuple(scopes))
        if before is not None:
            rates.expected = before.expected
        return rates

    def _window(self, key: tuple[str, str, str], limit: float) -> RateWindow:
        window = self._windows.setdefault(key, RateWindow(limit))
        self._whole[key] = limit
        window.limit = limit / self.parts
        return window

    def divide(self, parts: int) -> bool:
        """Keep to one of so many equal `parts` of every limit, >= 1; whether that is another part."""
        if parts == self.parts:
            return False
        with self.lock:
            changes, self.parts = parts != self.parts, parts
            for key, window in self._windows.items():
                window.limit = self._whole[key] / parts
        return changes

    def used_up(self, scope: Scope, name: str, amount: float, until: float) -> None:
        """Others have left no room for `amount` or more in the window `name` ("rpm", "tpm") of `scope`."""
        with self.lock:
            window = self._windows.get((name, scope.kind, scope.name))
            if window is not None:
                window.out = (until, amount)

    def keep(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """Forget the windows of endpoints that are not among these, once nothing is taken there."""
        ids = {endpoint.id for endpoint in endpoints}
        with self.lock:
            for key, window in list(self._windows.items()):
                gone = key[1] == "endpoint" and key[2] not in ids
                if gone and window.left(now) >= window.limit:
                    del self._windows[key], self._whole[key]
