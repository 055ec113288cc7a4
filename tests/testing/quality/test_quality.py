"""How a semantic cache is judged: what is read, what is counted, and within which bounds it lies."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")

from langchain_cluster import ConfigError
from langchain_cluster.testing.quality import Judged, Measured, Point, draw, measure, read_judged, wilson


class Letters:
    """An embedder by hand: a text is the angle it says, `tide 10` is 10 degrees; others lie in the dark."""

    def embed_query(self, text: str) -> list[float]:
        from math import cos, radians, sin

        vector = [0.0] * 64
        words = text.split()
        place = 2 * (int(hashlib.sha256(words[0].encode()).hexdigest(), 16) % 32)
        angle = radians(float(words[1])) if len(words) > 1 else 0.0
        vector[place], vector[place + 1] = cos(angle), sin(angle)
        return vector

    async def aembed_query(self, text: str) -> list[float]:
        return self.embed_query(text)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_bounds_are_those_of_wilson() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for found, of, low, high in (
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718),
    ):  # fmt: skip
        assert wilson(found, of) == pytest.approx((low, high), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(7, 7)[1] == 1.0


def test_pairs_are_read_in_either_form(tmp_path: Path) -> None:
    expected = (("x, or not", "y", True), ("x", "z", False))
    csv = written(tmp_path, "p.csv", '\ufeffa,b,same,more\n"x, or not",y,TRUE,1\nx,z,no,2\n')
    assert read_judged(csv) == Judged(expected)
    lines = (
        '{"a": "x, or not", "b": "y", "same_answer": true}\n\n{"question1":"x","question2":"z","label":0}\n'
    )
    assert read_judged(written(tmp_path, "p.jsonl", lines)) == Judged(expected)
    assert read_judged(csv, 1).pairs == expected[:1]


def test_questions_with_answers_are_a_stream(tmp_path: Path) -> None:
    path = written(tmp_path, "q.csv", 'text,category\n"two\nlines",tides\nother,moon\n')
    assert read_judged(path) == Judged(stream=(("two\nlines", "tides"), ("other", "moon")))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.txt", "x", "unknown kind of file '.txt'"),
        ("p.csv", "", "holds nothing: expected pairs"),
        ("p.csv", "a,b,same\nx,y,perhaps\n", "line 2: same 'perhaps' is neither true nor false"),
        ("p.csv", "a,b,same\nx,y,1\n,y,1\n", "line 3: a '' is not a text"),
        ("p.csv", "a,b,same\nx,y\n", "line 2: its head names 3 columns, and this line has fewer"),
        ("p.csv", "a,b,same\nx,y,z,1\n", "line 2: its head names 3 columns, and this line has more"),
        ("p.csv", "x,y\n1,2\n", "line 2: it has x, y: expected pairs"),
        ("p.jsonl", "{", "line 1: this is no JSON"),
        ("p.jsonl", "[1]", "line 1: this is a list: expected pairs"),
        ("p.jsonl", '{"a": 3, "b": "x", "same": true}', "line 1: a 3 is not a text"),
        ("p.jsonl", '{"a":"x","b":"y","same":1}\n{"text":"x","answer":"y"}', "line 2: some lines are pairs"),
    ],
)
def test_a_bad_line_is_told_with_what_is_expected(name: str, text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        read_judged(written(tmp_path, name, text))


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_judged(tmp_path / "gone.csv")
    tmp_path.joinpath("p.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_judged(tmp_path / "p.csv")


PAIRS = (
    ("tide 0", "tide 10", True),  # cosine .985
    ("moon 0", "moon 25", True),  # .906
    ("star 0", "star 60", True),  # .5
    ("sun 0", "sun 20", False),  # .940
    ("sea 0", "wind 0", False),  # 0
)


def points(measured: Measured, policy: str) -> dict[float, Point]:
    return {point.threshold: point for point in measured.points if point.policy == policy}


def test_thresholds_are_judged_by_pairs() -> None:
    measured = measure(Judged(PAIRS), Letters(), orders=1)
    free = points(measured, "no guards")
    assert (measured.kind, measured.questions) == ("pairs", 5)
    assert [(p.right, p.wrong, p.could, p.traps) for p in (free[0.9], free[0.93], free[0.95])] == [
        (2, 1, 3, 2),
        (1, 1, 3, 2),
        (1, 0, 3, 2),
    ]
    assert free[0.9].precision == pytest.approx(2 / 3)
    assert (free[0.9].hits, free[0.9].false_hits) == (pytest.approx(2 / 3), 0.5)
    assert free[0.9].bounds["precision"] == wilson(2, 3)
    # Guards see another number in each of them.
    guarded = points(measured, "guards")[0.9]
    assert (guarded.served, guarded.precision) == (0, 1.0)


def test_a_learned_policy_serves_nothing_before_it_has_evidence() -> None:
    measured = measure(Judged(PAIRS), Letters(), orders=1, error_rates=(0.01, 0.05))
    assert [p.served for p in points(measured, "learned").values()] == [0, 0]


def test_questions_are_judged_as_a_stream() -> None:
    stream = tuple((f"{topic} {turn / 10}", topic) for topic in ("tide", "moon") for turn in range(4))
    measured = measure(Judged(stream=stream), Letters(), orders=2)
    at = points(measured, "no guards")[0.95]
    assert (measured.kind, at.right, at.wrong, at.could, at.traps) == ("stream", 12, 0, 12, 16)


def test_a_wrong_answer_of_a_stream_is_counted() -> None:
    stream = (("tide 0", "ebb"), ("tide 1", "flow"), ("tide 2", "ebb"))
    at = points(measure(Judged(stream=stream), Letters(), orders=1), "no guards")[0.95]
    assert (at.served, at.right + at.wrong) == (2, 2)
    assert at.wrong >= 1


def test_each_text_is_embedded_once_and_progress_is_told() -> None:
    class Counting(Letters):
        asked: list[str] = []

        def embed_query(self, text: str) -> list[float]:
            self.asked.append(text)
            return super().embed_query(text)

    told: list[Any] = []
    embedder = Counting()
    measure(Judged(PAIRS), embedder, orders=1, progress=lambda *step: told.append(step))
    assert sorted(embedder.asked) == sorted({text for a, b, _ in PAIRS for text in (a, b)})
    assert told[0] == ("embedding", 1, 10)
    assert {what for what, _, _ in told} == {"embedding", "guards", "no guards", "learned 0.01"}


def test_an_embedder_that_answers_everything_alike_is_all_wrong() -> None:
    class Alike(Letters):
        def embed_query(self, text: str) -> list[float]:
            return [1.0, 0.0]

    at = points(measure(Judged(PAIRS), Alike(), orders=1), "no guards")[0.99]
    assert (at.right, at.wrong) == (3, 2)


@pytest.mark.parametrize("kind", ["pairs", "stream"])
def test_the_picture_shows_it(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    stream = tuple((f"{topic} {turn / 10}", topic) for topic in ("tide", "moon") for turn in range(40))
    measured = measure(Judged(PAIRS) if kind == "pairs" else Judged(stream=stream), Letters(), orders=1)
    path = tmp_path / "curve.svg"
    draw(measured, path)
    text = path.read_text()
    for words in ("threshold, with guards", "threshold, without guards", "learned, error_rate 0.01", "0.90"):
        assert words in text
    draw(measured, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="unknown kind of picture"):
        draw(measured, tmp_path / "curve.gif")
