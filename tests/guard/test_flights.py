"""Of identical questions in flight one is asked; the others hear how it ended, once."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest

from langchain_cluster.guard.flights import Flights


def test_the_first_leads_and_the_others_join_it() -> None:
    flights = Flights()
    flight, leads = flights.join("k")
    other, follows = flights.join("k")
    assert leads
    assert not follows
    assert other is flight
    assert len(flights) == 1


def test_another_key_is_another_flight() -> None:
    flights = Flights()
    assert flights.join("a")[0] is not flights.join("b")[0]
    assert len(flights) == 2


def test_everybody_is_told_once_when_it_lands() -> None:
    flights, told = Flights(), []
    flight, _ = flights.join("k")
    flight.subscribe(lambda: told.append("one"))
    flight.subscribe(lambda: told.append("two"))
    assert not flight.landed
    flights.land("k", flight, raw=b"x", error=None)
    assert told == ["one", "two"]
    assert (flight.landed, flight.raw, flight.error) == (True, b"x", None)
    flights.land("k", flight, raw=b"x", error=None)
    assert told == ["one", "two"]


def test_whoever_subscribes_after_the_landing_is_told_at_once() -> None:
    flights, told = Flights(), []
    flight, _ = flights.join("k")
    flights.land("k", flight, raw=None, error=None)
    flight.subscribe(lambda: told.append(flight.landed))
    assert told == [True]


def test_whoever_has_left_is_not_told() -> None:
    flights, told = Flights(), []
    flight, _ = flights.join("k")

    def tell() -> None:
        told.append(1)

    flight.subscribe(tell)
    flight.unsubscribe(tell)
    flight.unsubscribe(tell)
    flights.land("k", flight, raw=None, error=None)
    assert told == []


def test_an_error_is_shared() -> None:
    flights, error = Flights(), ValueError("no")
    flight, _ = flights.join("k")
    flights.land("k", flight, raw=None, error=error)
    assert flight.error is error
    assert flight.raw is None


def test_after_a_landing_the_next_to_ask_leads_again() -> None:
    flights = Flights()
    first, _ = flights.join("k")
    flights.land("k", first, raw=b"x", error=None)
    assert len(flights) == 0
    second, leads = flights.join("k")
    assert leads
    assert second is not first


def test_a_flight_that_lands_twice_does_not_end_its_successor() -> None:
    flights = Flights()
    first, _ = flights.join("k")
    flights.land("k", first, raw=None, error=None)
    second, _ = flights.join("k")
    flights.land("k", first, raw=None, error=None)
    assert flights.join("k") == (second, False)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_flight_knows_whether_its_leader_streams(streaming: bool) -> None:
    flights = Flights()
    flights.join("k", streaming=streaming)
    assert flights.join("k", streaming=not streaming)[0].streaming is streaming


def test_a_flight_knows_its_leaders_terms_and_whether_it_was_abandoned() -> None:
    flights = Flights()
    flight, _ = flights.join("k", terms="mine")
    assert flights.join("k", terms="others")[0].terms == "mine"
    assert not flight.abandoned
    flights.land("k", flight, raw=None, error=None, abandoned=True)
    assert flight.abandoned
    again, _ = flights.join("k")
    flights.land("k", again, raw=None, error=None)
    assert (again.abandoned, again.terms) == (False, None)


def test_a_leader_that_says_nothing_of_it_does_not_stream() -> None:
    assert not Flights().join("k")[0].streaming


def test_of_sixteen_threads_exactly_one_leads() -> None:
    for _ in range(50):
        flights, leaders, told = Flights(), [], []
        start = Barrier(16)

        def join(
            flights: Flights = flights,
            leaders: list[bool] = leaders,
            told: list[bytes | None] = told,
            start: Barrier = start,
        ) -> None:
            start.wait()
            flight, leads = flights.join("k")
            leaders.append(leads)
            flight.subscribe(lambda: told.append(flight.raw))

        threads = [Thread(target=join) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        flights.land("k", flights.join("k")[0], raw=b"x", error=None)
        assert sum(leaders) == 1
        assert told == [b"x"] * 16


def test_of_those_whom_a_flight_keeps_waiting_one_leads_its_successor() -> None:
    flights = Flights()
    slow, _ = flights.join("k")
    second, leads = flights.overtake("k", slow, streaming=True, terms="terms")
    assert leads
    assert (second.streaming, second.terms) == (True, "terms")
    assert flights.overtake("k", slow) == (second, False)
    assert flights.join("k") == (second, False)
    flights.land("k", slow, raw=b"late", error=None)
    assert flights.join("k") == (second, False)
    flights.land("k", second, raw=b"hi", error=None)
    assert flights.overtake("k", slow) == (second, False)  # who comes late finds what came of it
    assert len(flights) == 0


def test_nobody_knows_that_a_leaders_consumer_has_paused_unless_told() -> None:
    flight, _ = Flights().join("k", streaming=True)
    assert flight.handed() is None
