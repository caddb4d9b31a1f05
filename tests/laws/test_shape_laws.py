"""Laws of the key under which calibrations are kept: the same for loads that cost the same per request, another otherwise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.plan import Plan
from clipload.shapes import NEAR_BYTES, NEAR_SHARE, Shape, here, shape_of
from clipload.units import Duration, Size
from tests.laws.test_plan_laws import LAW, plans

WHERE: Any = ({"node": "a", "cores": 8, "system": "Linux 6", "machine": "x86_64", "cpu": "a cpu"}, {"uvloop": "0.22"})
PLAN = Plan(mode="text")


def shape(plan: Plan = PLAN, **changes: Any) -> Shape:
    return shape_of(plan, **({"dim": 512, "body_bytes": 80, "shared": False, "where": WHERE} | changes))


OTHERWISE: dict[str, Any] = {  # what of a load does not cost a request anything
    "rate": 300.0,
    "concurrency": None,
    "duration": Duration.seconds(99),
    "warmup": Duration.seconds(3),
    "arrival": "constant",
    "seed": 7,
    "name": "evening",
    "pool": 3,
    "model": "another",
    "timeout": Duration.seconds(1),
    "base_url": ("http://gpu:8000", "http://gpu:8001"),
    "arena_limit": Size(2**28),
}


def test_the_load_and_the_target_do_not_matter() -> None:
    assert shape(PLAN.replace(**OTHERWISE)) == shape()
    for name in OTHERWISE.keys() - {"rate", "concurrency"}:
        assert shape(PLAN.replace(**{name: OTHERWISE[name]})) == shape(), name


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": ("https://h:1",)},
        {"base_url": ("unix:/s",)},
        {"transport": "aiohttp"},
        {"api": "openai"},
        {"api": "native"},
        {"mode": "image"},
        {"batch_size": 2},
        {"encoding_format": "base64"},
        {"workers": 2},
    ],
    ids=str,
)
def test_each_field_that_matters_makes_another_key(changes: dict[str, Any]) -> None:
    assert shape(PLAN.replace(**changes)).key != shape().key


@pytest.mark.parametrize("changes", [{"dim": 768}, {"shared": True}], ids=str)
def test_so_do_the_vectors_and_the_cores(changes: dict[str, Any]) -> None:
    assert shape(**changes).key != shape().key


@pytest.mark.parametrize("part", [0, 1])
def test_so_does_each_fact_of_the_host_and_of_its_software(part: int) -> None:
    for name, value in WHERE[part].items():
        where = list(WHERE)
        where[part] = {**WHERE[part], name: value * 2}
        assert shape(where=tuple(where)).key != shape().key, name


@LAW
@given(plans(), plans())
def test_keys_are_equal_just_when_shapes_are(one: Plan, other: Plan) -> None:
    assert (shape(one).key == shape(other).key) == (shape(one) == shape(other))
    assert shape(one).key == shape(Plan.from_toml(one.to_toml())).key


@LAW
@given(st.integers(1, 10**8), st.integers(1, 10**8))
def test_the_size_of_a_body_is_compared_and_not_hashed(one: int, other: int) -> None:
    kept = shape(body_bytes=one)
    assert kept.key == shape(body_bytes=other).key
    assert kept.near(one)
    assert kept.near(other) == (abs(one - other) <= max(NEAR_BYTES, NEAR_SHARE * one))


def test_a_key_survives_the_file_and_the_next_process() -> None:
    again = msgspec.json.decode(msgspec.json.encode(shape()), type=Shape)
    assert again.key == shape().key == "7281f0b284745075b7007337"


def test_this_host_says_the_same_twice() -> None:
    assert here() == here()
    assert {"node", "cpu", "cores"} < here()[0].keys()
    assert here()[1]["clipload"] != "absent"
