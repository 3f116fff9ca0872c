from dataclasses import dataclass, field

import pytest

from argus_processing.storage.typed_json import from_json, to_json


@dataclass(frozen=True)
class Wheel:
    size: float
    name: str | None = None


@dataclass(frozen=True)
class Car:
    wheels: dict[str, Wheel]
    seats: tuple[int, ...]
    weight: float | None
    sold: bool = False
    notes: dict[str, object] = field(default_factory=dict)


CAR = Car({"front": Wheel(2, "left"), "back": Wheel(2.5)}, (1, 2), None)
CONTENT = {"wheels": {"front": {"size": 2, "name": "left"}, "back": {"size": 2.5}}, "seats": [1, 2], "weight": None}


def test_a_dataclass_comes_back_and_defaults_are_not_written():
    assert to_json(CAR) == CONTENT and from_json(Car, CONTENT) == CAR
    sold = Car({}, (), 1.5, True, {"any": [1, "x"]})
    assert from_json(Car, to_json(sold)) == sold


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"wheels": {"front": {"size": "big"}}}, "car/wheels/front/size: expected a number, got 'big'"),
        ({"wheels": {"front": {"size": True}}}, "expected a number, got True"),
        ({"weight": 10**400}, r"car/weight: expected a number, got 10{39}\.\.\.$"),
        ({"wheels": {"front": {}}}, "car/wheels/front: has no size"),
        ({"wheels": [1]}, r"car/wheels: expected a mapping, got \[1\]"),
        ({"seats": [1.5]}, "car/seats: expected a whole number, got 1.5"),
        ({"seats": "12"}, "car/seats: expected a list"),
        ({"sold": "x" * 100}, r"car/sold: expected true or false, got 'x{39}\.\.\.$"),
        ({"doors": 4}, "car: has an unknown doors"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_place(change, reason):
    with pytest.raises(ValueError, match=reason):
        from_json(Car, CONTENT | change, "car")
