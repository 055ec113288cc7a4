"""Who waits for the same endpoint comes back a little apart, those that matter more first."""

from __future__ import annotations

from random import Random

from langchain_cluster.guard.crowd import SPREAD, Crowd


def test_who_waits_alone_comes_back_in_time_and_the_others_after_it_by_chance() -> None:
    crowd, rng = Crowd(), Random(1)
    assert crowd.join(100.0, "normal").longer(rng) == 0.0
    later = [crowd.join(100.0, "normal").longer(rng) for _ in range(100)]
    assert len(set(later)) == 100
    assert 0.0 <= min(later) < SPREAD / 5 < SPREAD * 4 / 5 < max(later) < SPREAD


def test_the_same_seed_does_the_same_again() -> None:
    def seconds(seed: int) -> list[float]:
        crowd, rng = Crowd(), Random(seed)
        return [crowd.join(100.0, "normal").longer(rng) for _ in range(10)]

    assert seconds(7) == seconds(7) != seconds(8)


def test_one_is_outranked_while_somebody_waits_who_matters_more() -> None:
    crowd = Crowd()
    with crowd.join(100.0, "sheddable") as sheddable, crowd.join(100.0 + 1e-9, "normal") as normal:
        assert (sheddable.outranked, normal.outranked) == (True, False)
        with crowd.join(100.0 - 1e-9, "critical") as critical:
            assert (sheddable.outranked, normal.outranked, critical.outranked) == (True, True, False)
        assert not normal.outranked
    assert len(crowd) == 0


def test_who_waits_for_another_time_is_another_crowd() -> None:
    crowd = Crowd()
    crowd.join(100.0, "critical")
    other = crowd.join(101.0, "sheddable")
    assert (other.alone, other.outranked) == (True, False)
    assert repr(crowd) == "<Crowd of 2>"
