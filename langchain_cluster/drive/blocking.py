"""Performs effects by blocking the calling thread."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from langchain_cluster.drive import shelf
from langchain_cluster.drive.deadline import Within
from langchain_cluster.drive.limits import first_token_by, next_chunk_by, stalled, too_late
from langchain_cluster.drive.race import BegunJob
from langchain_cluster.drive.recall import Recalled, Recalls, moved
from langchain_cluster.drive.workers import InPlace, Pump, Workers
from langchain_cluster.model.call import Answer, Attempt, Outcome, Resume, Verdict
from langchain_cluster.model.plain import plain
from langchain_cluster.model.scope import Away, Refused, Scope, Taken
from langchain_cluster.plan import effects as fx
from langchain_cluster.ports import AlikeStore, CacheStore, Caller, Clock, LimitStore, Span, Tracing

T = TypeVar("T")
_NO_HEADERS: dict[str, str] = {}


class BlockingDriver:
    """One for all calls of a cluster; it keeps nothing between them.

    Args:
        clock: time and waiting.
        caller: asks endpoints.
        store: the cache, if there is one.
        tracing: opens spans, if somebody listens.
        workers: threads for calls that block.
        recalls: where attempts are held that can be called back.
        alike: the cache of answers by meaning, if there is one.
    """

    def __init__(
        self,
        clock: Clock,
        caller: Caller,
        store: CacheStore | None = None,
        tracing: Tracing | None = None,
        workers: Workers | None = None,
        recalls: Recalls | None = None,
        alike: AlikeStore | None = None,
    ) -> None:
        self.clock, self.caller, self.store, self.tracing = clock, caller, store, tracing
        self._instant = store is not None and shelf.longest(store) == 0.0
        self.workers = workers or Workers()
        self.recalls = recalls or Recalls()
        self.alike = alike

    def run(self, plan: fx.Plan[T], span: Span | None = None) -> T:
        """The plan's result. Leaving early, however it happens, settles what the plan holds."""
        with closing(plan):
            try:
                effect = next(plan)
                while True:
                    try:
                        answer = self._perform(effect, span)
                    except Exception as error:
                        effect = plan.throw(error)
                    else:
                        effect = plan.send(answer)
            except StopIteration as stop:
                result: T = stop.value
                return result

    def stream(self, plan: fx.Plan[Answer], span: Span | None = None) -> Generator[Any, None, None]:
        """The plan's chunks, and its `Answer` as the last item."""
        with closing(plan):
            try:
                effect = next(plan)
                while True:
                    if type(effect) is fx.Relay:
                        effect = plan.send((yield from self._relay(effect.started, hold=effect.hold)))
                        continue
                    try:
                        answer = self._perform(effect, span)
                    except Exception as error:
                        effect = plan.throw(error)
                    else:
                        effect = plan.send(answer)
            except StopIteration as stop:
                last = stop.value
        yield last

    def _perform(self, effect: fx.Effect[Any], span: Span | None) -> Any:
        match effect:
            case fx.Call(attempt):
                return self._call(attempt, span)
            case fx.Lookup(keys, near=True):
                return shelf.glance(self.store, keys)
            case fx.Lookup(keys, until):
                return self._lookup(keys, until, span)
            case fx.Store(key, raw, until, ttl):
                return self._shelved(shelf.put, until, key, raw, ttl)
            case fx.ClaimQuestion(keys, streaming, until):
                return self._shelved(shelf.claim, until, keys, streaming)
            case fx.LookupEach(keys, until):
                return self._lookup_each(keys, until, span)
            case fx.StoreEach(raws, until):
                return self._shelved(lambda store: store.mset(raws), until)
            case fx.Open(attempt, resume):
                return self._open(attempt, span, resume)
            case fx.Begin(attempt, streaming):
                make = self._open if streaming else self._call
                return BegunJob(attempt, partial(make, attempt, span), self.workers, self.recalls)
            case fx.LookupAlike(text, scopes, until):
                return self._alike(until, "seek", text, scopes)
            case fx.StoreAlike(text, scope, raw, words, until):
                return self._alike(until, "keep", text, scope, raw, words)
            case fx.Reserve(store, scopes, tokens, until):
                return self._reserve(store, scopes, tokens, until)
            case fx.Sleep(seconds):
                return self.clock.sleep(seconds)
            case fx.Wait(awaited, until):
                gate = Lock()
                gate.acquire()
                awaited.subscribe(gate.release)
                try:
                    self.clock.wait(gate, until)
                finally:
                    awaited.unsubscribe(gate.release)
                return None
            case fx.Fetch(source, after):
                return source.fetch(after)
            case _:
                raise TypeError(f"unknown effect {effect!r}")

    def _shelved(self, ask: Callable[..., T], until: float | None, *given: Any) -> T | None:
        """Ask the store, on a worker if it might take longer than it may."""
        store = self.store
        if store is None:
            return None
        if until is None or self._instant or shelf.longest(store) <= until - self.clock.now():
            return ask(store, *given)
        return self.workers.start(lambda: ask(store, *given)).wait(self.clock, until)

    def _alike(self, until: float | None, operation: str, *given: Any) -> Any:
        """Ask the cache of meanings, on a worker: embedding takes time, and may hang."""
        if self.alike is None:
            return None
        ask = getattr(self.alike, operation)
        if until is None:
            return ask(*given)
        return self.workers.start(lambda: ask(*given)).wait(self.clock, until)

    def _reserve(
        self, store: LimitStore, scopes: tuple[Scope, ...], tokens: float, until: float | None
    ) -> Taken | Refused | Away:
        """Ask the store, on a worker if it might take longer than it may."""
        if until is None or store.longest <= until - self.clock.now():
            return store.take(scopes, tokens)
        return self.workers.start(lambda: store.take(scopes, tokens)).wait(self.clock, until)

    def _lookup(self, keys: tuple[str, ...], until: float | None, parent: Span | None) -> fx.Found | None:
        span = None if parent is None or self.tracing is None else self.tracing.lookup(parent)
        found: fx.Found | None = None
        try:
            found = shelf.glance(self.store, keys) or self._shelved(shelf.find, until, keys)
            return found
        finally:
            if span is not None:
                span.end(found.layer if found else "miss")

    def _lookup_each(
        self, keys: tuple[str, ...], until: float | None, parent: Span | None
    ) -> list[fx.Found | None]:
        span = None if parent is None or self.tracing is None else self.tracing.lookup(parent)
        found: list[fx.Found | None] = [None] * len(keys)
        try:
            found = self._shelved(shelf.find_each, until, keys) or found
            return found
        finally:
            if span is not None:
                span.end(next((one.layer for one in found if one is not None), "miss"))

    def _call(self, attempt: Attempt, parent: Span | None) -> Outcome:
        span = None if parent is None or self.tracing is None else self.tracing.attempt(attempt, parent)
        headers = _NO_HEADERS if span is None else span.headers
        started = self.clock.now()
        outcome: Outcome | None = None
        try:
            with Within(self.clock.now, attempt.limits.until), span or nullcontext():
                if attempt.inline:
                    outcome = self.caller.call(attempt, headers)
                else:
                    job = self.workers.start(lambda: self.caller.call(attempt, headers))
                    self.recalls.hold(attempt, started, job.recall)
                    outcome = job.wait(self.clock, attempt.limits.until)
        except TimeoutError:
            seconds = self.clock.now() - started
            outcome = too_late(attempt.endpoint, "no answer within the time of the attempt", seconds)
        except Recalled as why:
            outcome = moved(str(why), self.clock.now() - started)
        finally:
            self.recalls.drop(attempt)
            if span is not None:
                span.end(outcome)
        return outcome

    def _open(self, attempt: Attempt, parent: Span | None, resume: Resume | None = None) -> Outcome:
        span = None if parent is None or self.tracing is None else self.tracing.attempt(attempt, parent)
        started = self.clock.now()
        until, reason = first_token_by(attempt, started)
        headers = _NO_HEADERS if span is None else span.headers
        stream = self.caller.open(attempt, headers, resume)
        if span is not None:
            span.streams(stream)
        outcome: Outcome | None = None
        chunks: Pump | InPlace | None = None
        read: list[Any] = []
        try:
            with Within(self.clock.now, attempt.limits.until), span or nullcontext():
                if attempt.inline:
                    chunks = InPlace(stream.chunks())
                else:
                    chunks = Pump(stream.chunks(), self.workers, self.clock)
                    self.recalls.hold(attempt, started, chunks.recall)
                while True:
                    chunk = chunks.next(until)
                    read.append(chunk)
                    stream.note(chunk, self.clock.now())
                    if stream.has_token(chunk):
                        break
            chunks.keep()
            outcome = Outcome(Verdict.OK, value=fx.Started(attempt, stream, read, chunks, span))
        except StopIteration:
            outcome = stream.ended(self.clock.now())
            if outcome.verdict is Verdict.OK:
                outcome = Outcome(Verdict.OK, value=fx.Started(attempt, stream, read, None, span))
        except TimeoutError as error:
            late = plain(str(error)) or reason
            outcome = too_late(attempt.endpoint, late, self.clock.now() - started)
        except Recalled as why:
            outcome = moved(str(why), self.clock.now() - started)
        except Exception as error:
            outcome = stream.broke(error, self.clock.now())
        finally:
            self.recalls.drop(attempt)
            if outcome is None or outcome.verdict is not Verdict.OK:
                if chunks is not None:
                    chunks.close()
                if span is not None:
                    span.end(outcome)
        return outcome

    def _relay(self, opened: fx.Started, *, hold: bool) -> Generator[Any, None, Outcome]:
        stream, chunks, span = opened.stream, opened.rest, opened.span
        outcome: Outcome | None = None
        held: list[Any] = []
        reason = ""
        try:
            for chunk in opened.read:
                new = stream.out(chunk)
                if hold:
                    held.append(new)
                elif new is not None:
                    opened.handed = self.clock.now()
                    yield new
                    opened.handed = None
            while chunks is not None:
                until, reason = next_chunk_by(opened.attempt, self.clock.now())
                with span or nullcontext():
                    chunk = chunks.next(until)
                now = self.clock.now()
                stream.note(chunk, now)
                new = stream.out(chunk)
                if hold:
                    held.append(new)
                elif new is not None:
                    opened.handed = now
                    yield new
                    opened.handed = None
            outcome = stream.ended(self.clock.now())
        except StopIteration:
            outcome = stream.ended(self.clock.now())
        except TimeoutError as error:
            outcome = stalled(stream, error, reason, self.clock.now())
        except Exception as error:
            outcome = stream.broke(error, self.clock.now())
        finally:
            if chunks is not None:
                chunks.close()
            if span is not None:
                span.end(outcome)
        if outcome.verdict is Verdict.OK:
            opened.handed = self.clock.now()
            yield from held
        return outcome
