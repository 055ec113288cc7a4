"""Who asks a new question for all processes? The claims this process holds, until it gives them back.

A claim lasts a few seconds and is renewed while the question is asked, by one daemon thread. So a process
that dies keeps the others waiting for those seconds and no longer, however long an answer takes. To give one
back waits for nothing: the thread does it. What cannot be renewed or given back ends by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from secrets import token_hex
from threading import Condition, Thread, current_thread
from weakref import ref

RENEWED = 3.0  # times within the time it lasts
IDLE = 10.0  # seconds the thread waits for the next claim before it ends
STREAMING, WHOLE = b"s", b"w"  # how a token begins: whether an answer comes at its consumer's pace

Ended = tuple[bytes, bytes, bool]


class Claim:
    """One that is held, as long as somebody has it."""

    __slots__ = ("__weakref__", "_claims", "key", "token")

    def __init__(self, claims: Claims, key: bytes, token: bytes) -> None:
        self._claims, self.key, self.token = claims, key, token

    def end(self, *, shared: bool) -> None:
        """Give it back; at once, whatever the server does.

        Args:
            shared: whether those who wait should look again, and one of them claim it if there is no answer.
                If not, there will be none to share, and each of them asks for itself.
        """
        self._claims.end(self, shared=shared)


class Claims:
    """Keeps what is held alive.

    Args:
        seconds: a claim lasts, > 0. None: nobody claims anything.
        renew: lets the claims under these keys last that long from now.
        give: gives one back: its key, its token, and whether others are to look again.
    """

    def __init__(
        self,
        seconds: float | None,
        renew: Callable[[list[bytes]], object],
        give: Callable[[bytes, bytes, bool], object],
    ) -> None:
        self.seconds, self._renew, self._give = seconds, renew, give
        self._every = (seconds or RENEWED) / RENEWED
        self._start_anew()

    def _start_anew(self) -> None:
        self._process = os.getpid()
        self._changed = Condition()
        # The token, when it is to be renewed, and who has it: nobody, if a call left before it was told.
        self._held: dict[bytes, tuple[bytes, float, ref[Claim]]] = {}
        self._ended: list[Ended] = []
        self._thread: Thread | None = None
        self._closing = False

    @staticmethod
    def token(*, streaming: bool) -> bytes:
        """A new one, nobody else's."""
        return (STREAMING if streaming else WHOLE) + token_hex(8).encode()

    def hold(self, key: bytes, token: bytes) -> Claim:
        """It is ours now."""
        if self._process != os.getpid():  # a fork holds nothing, and has no thread
            self._start_anew()
        claim = Claim(self, key, token)
        with self._changed:
            self._held[key] = (token, time.monotonic() + self._every, ref(claim))
            self._wake()
        return claim

    def end(self, claim: Claim, *, shared: bool) -> None:
        """See `Claim.end`; a second one does nothing."""
        if self._process != os.getpid():
            return
        with self._changed:
            held = self._held.get(claim.key)
            if held is not None and held[0] == claim.token:
                del self._held[claim.key]
                self._ended.append((claim.key, claim.token, shared))
                self._wake()

    def _wake(self) -> None:
        self._closing = False  # whoever closed it has begun again
        if self._thread is None:
            self._thread = Thread(target=self._run, name="langchain-cluster-cache-claims", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._ended and not self._closing:
                    woken = self._changed.wait(self._pause())
                    if not woken and not self._held and not self._ended:
                        self._thread = None  # nothing for so long: the next claim starts another
                        return
                ended, self._ended = self._ended, []
                if self._closing and not ended:
                    self._thread = None
                    return
                due = self._due()
            for key, token, shared in ended:
                self._try(self._give, key, token, shared)
            if due:
                self._try(self._renew, due)

    def _pause(self) -> float:
        if not self._held:
            return IDLE
        return max(0.0, min(due for _, due, _ in self._held.values()) - time.monotonic())

    def _due(self) -> list[bytes]:
        now, keys = time.monotonic(), []
        for key, (token, due, claim) in list(self._held.items()):
            if claim() is None:
                del self._held[key]
                self._ended.append((key, token, True))
            elif due <= now:
                self._held[key] = (token, now + self._every, claim)
                keys.append(key)
        return keys

    @staticmethod
    def _try(do: Callable[..., object], *given: object) -> None:
        try:
            do(*given)
        except Exception:
            pass  # the server is away, which the store counts: a claim ends by itself

    def close(self) -> None:
        """Give back what was ended, and stop. What is still held ends by itself."""
        if self._process != os.getpid():
            return
        with self._changed:
            thread = self._thread
            self._held.clear()
            self._closing = True
            self._changed.notify_all()
        if thread is not None and thread is not current_thread():
            thread.join()
