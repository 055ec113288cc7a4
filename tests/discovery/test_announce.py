"""An endpoint announces itself for as long as it serves."""

from __future__ import annotations

import signal
from threading import Event, Thread
from typing import Any

import pytest

from langchain_cluster import Endpoint, Load
from langchain_cluster.discovery import announced
from langchain_cluster.errors import ConfigError, DiscoveryError

ME = Endpoint("me", url="http://10.0.0.1:80")


class Book:
    """A registrar that writes down what it is told."""

    ttl = 0.003

    def __init__(self, *failing: str) -> None:
        self.told: list[Any] = []
        self.failing = list(failing)
        self.beaten = Event()

    def _say(self, what: str, *more: Any) -> None:
        if what in self.failing:
            self.failing.remove(what)
            raise DiscoveryError("book", what)
        self.told.append((what, *more))

    def register(self, endpoint: Endpoint) -> None:
        self._say("register", endpoint.id)

    def deregister(self, id: str) -> None:
        self._say("deregister", id)

    def heartbeat(self, id: str, load: Load | None = None) -> None:
        self._say("heartbeat", id, load)
        if len(self.told) > 3:
            self.beaten.set()


def test_it_is_registered_beats_and_is_deregistered() -> None:
    book = Book()
    with announced(book, ME, load=lambda: Load(queued=2)):
        assert book.beaten.wait(20)
    assert book.told[0] == ("register", "me")
    assert set(book.told[1:-1]) == {("heartbeat", "me", Load(queued=2))}
    assert book.told[-1] == ("deregister", "me")


def test_it_is_deregistered_when_the_block_raises() -> None:
    book = Book()
    with pytest.raises(KeyError), announced(book, ME):
        raise KeyError
    assert book.told[-1] == ("deregister", "me")


def test_a_registry_that_is_away_is_tried_again() -> None:
    book = Book("register", "heartbeat", "deregister")
    failures: list[Exception] = []
    with announced(book, ME, failed=failures.append):
        assert book.beaten.wait(20)
    assert [str(error) for error in failures] == ["book: register", "book: heartbeat", "book: deregister"]
    assert book.told[0] == ("register", "me")


def test_what_can_never_be_registered_is_told_at_once() -> None:
    class Strict(Book):
        def register(self, endpoint: Endpoint) -> None:
            raise ConfigError("it has no url")

    with pytest.raises(ConfigError, match="no url"), announced(Strict(), ME):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_deregisters_and_goes_on_to_who_was_there_before(number: int) -> None:
    book, heard = Book(), []
    old = signal.signal(number, lambda got, frame: heard.append((got, book.told[-1][0])))
    mine = signal.getsignal(number)
    try:
        with announced(book, ME, signals=True):
            signal.raise_signal(number)
            assert heard == [(number, "deregister")]
        assert [entry[0] for entry in book.told].count("deregister") == 1
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, old)


def test_a_default_handler_still_ends_the_program() -> None:
    book = Book()
    with pytest.raises(KeyboardInterrupt), announced(book, ME, signals=True):
        signal.raise_signal(signal.SIGINT)
    assert book.told[-1] == ("deregister", "me")


def test_signals_are_for_the_main_thread() -> None:
    errors: list[Exception] = []

    def elsewhere() -> None:
        try:
            with announced(Book(), ME, signals=True):
                pass
        except ConfigError as error:
            errors.append(error)

    thread = Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])
