"""What pydantic finds wrong, told with the place a user wrote and what would be valid there."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError, field_validator

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.strict import Seconds, Strict, explain, relocated


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Leaf(Strict):
    kind: Literal["leaf"] = "leaf"
    size: int = 1
    colour: Colour = Colour.RED


class Fruit(Strict):
    kind: Literal["fruit"] = "fruit"
    ripe: bool | Literal["soon"] = True


class Branch(Strict):
    leaves: tuple[Leaf, ...] = ()
    named: dict[str, Leaf] = Field(default_factory=dict)
    end: Annotated[Leaf | Fruit, Field(discriminator="kind")] | None = None
    either: int | list[int] = 0
    wait: Seconds | None = None

    @field_validator("either")
    @classmethod
    def _not_thirteen(cls, given: Any) -> Any:
        if given == 13:
            raise ConfigError("is 13", key="deep", valid=["12", "14"], got="12")
        return given


class Tree(Strict):
    branches: list[Branch] = []


BAD = [
    ({"branchs": []}, None, "unknown key 'branchs': expected one of branches; did you mean 'branches'?"),
    (
        {"branches": [{"leaves": [{"siz": 1}]}]},
        "branches.0.leaves.0",
        "unknown key 'siz': expected one of colour, kind, size; did you mean 'size'?",
    ),
    (
        {"branches": [{"leaves": [{"size": "x"}]}]},
        "branches.0.leaves.0.size",
        "input should be a valid integer",
    ),
    (
        {"branches": [{"named": {"a": {"size": None}}}]},
        "branches.0.named.a.size",
        "input should be a valid integer",
    ),
    ({"branches": [{"named": {"a": 3}}]}, "branches.0.named.a", "is not a mapping"),
    ({"branches": [{"named": 3}]}, "branches.0.named", "is not a mapping"),
    (
        {"branches": [{"leaves": [{"colour": "gren"}]}]},
        "branches.0.leaves.0.colour",
        "unknown value 'gren': expected one of red, green; did you mean 'green'?",
    ),
    (
        {"branches": [{"end": {"kind": "froot"}}]},
        "branches.0.end.kind",
        "unknown kind 'froot': expected one of leaf, fruit; did you mean 'fruit'?",
    ),
    ({"branches": [{"end": {}}]}, "branches.0.end.kind", "is missing: expected one of leaf, fruit"),
    (
        {"branches": [{"end": {"kind": "fruit", "ripe": "son"}}]},
        "branches.0.end.ripe",
        "unknown value 'son': expected one of true, false, soon; did you mean 'soon'?",
    ),
    (
        {"branches": [{"end": {"kind": "fruit", "size": 1}}]},
        "branches.0.end",
        "unknown key 'size': expected one of kind, ripe",
    ),
    ({"branches": [{"either": "x"}]}, "branches.0.either", "input should be a valid integer"),
    ({"branches": [{"either": [1, "x"]}]}, "branches.0.either", "input should be a valid integer"),
    (
        {"branches": [{"either": 13}]},
        "branches.0.either.deep",
        "is 13: expected one of 12, 14; did you mean '12'?",
    ),
    ({"branches": [{"wait": "soon"}]}, "branches.0.wait", "'soon' is no duration"),
    ({"branches": [{"wait": 0}]}, "branches.0.wait", "0 should be greater than 0"),
    ({"branches": [{"wait": float("inf")}]}, "branches.0.wait", "inf is no finite number of seconds"),
    ({"branches": {}}, "branches", "is not a list"),
]


@pytest.mark.parametrize(("given", "key", "told"), BAD)
@pytest.mark.parametrize("way", ["constructed", "validated"])
def test_the_place_is_the_one_the_user_wrote(
    way: str, given: dict[str, Any], key: str | None, told: str
) -> None:
    if way == "constructed":
        with pytest.raises(ConfigError) as caught:
            Tree(**given)
        error = caught.value
    else:
        with pytest.raises(ValidationError) as refused:
            Tree.model_validate(given)
        error = explain(refused.value, Tree, file="tree.yaml")
        assert error.file == "tree.yaml"
    assert error.key == key
    where = ": ".join(part for part in (error.file, key) if part)
    assert str(error).startswith(f"{where}: {told}" if where else told)
    assert all(valid in str(error) for valid in error.valid)
    assert bool(error.valid) == ("expected one of" in told)


def test_an_unknown_key_comes_before_what_it_left_missing() -> None:
    class Named(Strict):
        name: str

    with pytest.raises(ConfigError, match="unknown key 'nmae': expected one of name; did you mean 'name'"):
        Named(nmae="x")


def test_a_field_may_be_called_self() -> None:
    with pytest.raises(ConfigError, match="unknown key 'self'"):
        Tree(self=1)


def test_a_long_value_is_shown_shortly() -> None:
    with pytest.raises(ConfigError) as caught:
        Leaf(colour="x" * 10_000)
    assert len(str(caught.value)) < 200


def test_an_error_keeps_what_it_knows_when_it_is_moved() -> None:
    inner = ConfigError("is odd", key="b", valid=["even"], got="evn")
    moved = relocated(inner, under="a", file="f.yaml")
    assert (moved.problem, moved.valid, moved.key, moved.file) == ("is odd", ("even",), "a.b", "f.yaml")
    assert str(moved) == "f.yaml: a.b: is odd: expected one of even; did you mean 'even'?"
    assert str(relocated(moved, file="g.yaml")).startswith("g.yaml: a.b: is odd")
    assert str(relocated(ConfigError("x"))) == "x"


@pytest.mark.parametrize(
    ("written", "seconds"), [("250ms", 0.25), ("1.5 s", 1.5), ("2m", 120.0), ("1h", 3600.0), (3, 3.0)]
)
def test_a_duration_is_seconds_inside(written: Any, seconds: float) -> None:
    assert Branch(wait=written).wait == seconds
