"""Alerts of one cluster: rules are fed and asked, sinks are told, and what can be done by itself is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.alert import Alert
from langchain_cluster.model.events import AlertFailed, Event, ReactionRefused, ReactionTaken
from langchain_cluster.plan.effects import Plan, Sleep
from langchain_cluster.pool.pool import Pool
from langchain_cluster.ports import AlertRule, AlertSink
from langchain_cluster.telemetry.alerts.kinds import RULES, a_rule
from langchain_cluster.telemetry.alerts.ledger import Found, Ledger, Standing
from langchain_cluster.telemetry.alerts.outbox import Outbox
from langchain_cluster.telemetry.alerts.reactions import Taken, spared, take
from langchain_cluster.telemetry.alerts.rule import Rule, seconds
from langchain_cluster.telemetry.alerts.sinks import LogSink


class Alerts:
    """What is watched in one cluster, and who is told. Its rules have state: use it for one only.

    Args:
        rules: rules, or their names; all that come with this package if None.
        sinks: what is called with each alert, plain or async; a `LogSink` if None.
        every: seconds between two looks, > 0.

    Raises:
        ConfigError: something is no rule, or no sink. PluginError: no rule has that name.
    """

    def __init__(
        self,
        rules: Sequence[AlertRule | str] | None = None,
        sinks: Sequence[AlertSink] | None = None,
        *,
        every: float = 1.0,
    ) -> None:
        given = list(RULES) if rules is None else [rules] if isinstance(rules, str) else list(rules)
        self.rules = tuple(a_rule(rule, f"alerts.rules[{n}]") for n, rule in enumerate(given))
        self.sinks = tuple([LogSink()] if sinks is None else sinks)
        for number, sink in enumerate(self.sinks):
            if not callable(sink):
                kind = type(sink).__name__
                raise ConfigError(f"{kind} cannot be called with an alert", key=f"alerts.sinks[{number}]")
        self.every = seconds(every, "alerts.every", above=True)

    def __repr__(self) -> str:
        names = ", ".join(rule.name for rule in self.rules)
        return f"<Alerts {names}, {len(self.sinks)} sinks>"


class Watch:
    """Alerts at work.

    Args:
        pool: what rules look at and reactions act on.
        now: tells the time. emit: takes the events that come of it.
    """

    def __init__(
        self, alerts: Alerts, pool: Pool, now: Callable[[], float], emit: Callable[[Event], None]
    ) -> None:
        self._alerts, self._pool, self._now, self._emit = alerts, pool, now, emit
        self._ledger = Ledger()
        self._outbox = Outbox(alerts.sinks, self._failed)
        # Who only looks at the pool is not told of a million calls a day.
        self._fed = [rule for rule in alerts.rules if getattr(type(rule), "feed", None) is not Rule.feed]
        self._rules, self._looking = Lock(), Lock()
        self._told: set[tuple[str, str]] = set()  # which rules raised what

    @property
    def listens(self) -> bool:
        """Whether it wants to hear events."""
        return bool(self._fed)

    @property
    def firing(self) -> list[Alert]:
        """Alerts that were told and are not over, the loudest first."""
        standing = [standing.alert for standing in list(self._ledger.standing.values())]
        return sorted(standing, key=lambda alert: -alert.level.rank)

    def listen(self, event: Event) -> None:
        """Feed an event to the rules."""
        for rule in self._fed:
            try:
                with self._rules:
                    rule.feed(event)
            except Exception as error:
                self._broken(rule, error)

    def plan(self) -> Plan[None]:
        """Look, for ever."""
        while True:
            self.look()
            yield from Sleep(self._alerts.every)

    def look(self, now: float | None = None) -> list[Alert]:
        """Ask every rule once, tell the sinks, and react; the notices that were sent."""
        with self._looking:
            now = self._now() if now is None else now
            self._pool.catch_up(now)
            notices = self._ledger.update(self._found(now), now)
            for notice in notices:
                self._outbox.put(notice)
            self._react(now)
            for notice in (over := self._ledger.over(now)):
                self._outbox.put(notice)
            return notices + over

    def _found(self, now: float) -> list[Found]:
        found: list[Found] = []
        for rule in self._alerts.rules:
            try:
                with self._rules:
                    found += [(rule, alert) for alert in rule.check(now, self._pool)]
            except Exception as error:
                self._broken(rule, error)
        return found

    # -- what it does by itself -----------------------------------------------------------------------

    def _react(self, now: float) -> None:
        for standing in self._ledger.standing.values():
            self._give_back(standing, now)
        for standing in self._ledger.to_undo(now):
            for taken in standing.taken.values():
                self._undo(standing, taken, now)
            self._ledger.tried(standing, now)
        for standing in self._ledger.standing.values():
            if standing.well_since is None:
                self._act(standing, now)

    def _act(self, standing: Standing, now: float) -> None:
        alert = standing.alert
        for reaction in standing.wanted:
            if reaction in standing.taken:
                continue
            done = take(reaction, alert, self._pool, now)
            if isinstance(done, Taken):
                standing.taken[reaction] = done
                self._emit(ReactionTaken(now, alert.rule, done.action, done.subject))
            elif (reaction, done) not in standing.refused:
                standing.refused.add((reaction, done))
                self._emit(ReactionRefused(now, alert.rule, reaction.action, alert.subject, done))

    def _give_back(self, standing: Standing, now: float) -> None:
        """Whoever was taken out and would be the last of its kind now is needed."""
        for reaction, taken in list(standing.taken.items()):
            member = None if taken.out is None else self._pool.get(taken.out)
            if member is not None and not spared(member, self._pool, now):
                del standing.taken[reaction]
                self._undo(standing, taken, now)

    def _undo(self, standing: Standing, taken: Taken, now: float) -> None:
        if taken.undo():
            self._emit(ReactionTaken(now, standing.alert.rule, taken.action, taken.subject, undone=True))

    # -- what goes wrong ------------------------------------------------------------------------------

    def _broken(self, rule: AlertRule, error: Exception) -> None:
        what = (rule.name, type(error).__name__)
        if what not in self._told:
            self._told.add(what)
            self._failed(f"rule {rule.name}", what[1])

    def _failed(self, part: str, error: str) -> None:
        self._emit(AlertFailed(self._now(), part, error))

    def forked(self) -> None:
        """In the child of a fork: the thread that held a lock is the parent's."""
        self._rules, self._looking = Lock(), Lock()
        self._outbox = Outbox(self._alerts.sinks, self._failed)

    def close(self, timeout: float) -> bool:
        """Send what waits, at most `timeout` seconds, and end the thread; whether all was sent."""
        return self._outbox.close(timeout)

    def __repr__(self) -> str:
        return f"<Watch {self._alerts!r}, {len(self._ledger.standing)} alerts stand>"
