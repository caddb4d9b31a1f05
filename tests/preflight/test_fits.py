"""Which dialect fits whom, and that the advice is always a Plan that can be."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from clipload.cli.flags import plan_from
from clipload.dialects import DIALECTS
from clipload.errors import PlanError
from clipload.plan import Plan
from clipload.preflight.fits import OWN, advice, own
from clipload.preflight.identity import NAMES

PLANS = [
    {"mode": mode, "batch_size": batch, "encoding_format": encoding}
    for mode, batch, encoding in product(("text", "image", "mixed", "multimodal"), (1, 4), ("float", "base64"))
]


def test_every_server_that_has_a_name_has_a_dialect() -> None:
    assert set(OWN) == set(NAMES.values())
    assert {api for apis in OWN.values() for api in apis} <= set(DIALECTS)
    assert own("SGLang") == "; for SGLang, --api v1 or native fits"
    assert own("") == own("somebody") == ""


@pytest.mark.parametrize("values", PLANS, ids=str)
@pytest.mark.parametrize("name", [*OWN, "somebody", ""])
def test_the_advice_makes_a_plan_that_speaks_the_servers_own(name: str, values: dict[str, Any]) -> None:
    plan = Plan(**values)
    said = advice(name, plan)
    if plan.api in OWN.get(name, (plan.api,)):
        assert said == ""
        return
    words = said.removeprefix("use ").split()
    flags = {flag.removeprefix("--").replace("-", "_"): value for flag, value in zip(words[::2], words[1::2], strict=True)}
    changed = {flag: int(value) if value.isdigit() else value for flag, value in flags.items()}
    advised = plan_from({**values, **changed}, None, {})
    assert advised.api in OWN[name]
    assert {"mode", "batch_size"} & changed.keys() == {
        name for name in ("mode", "batch_size") if getattr(advised, name) != getattr(plan, name)
    }, "no more than has to"


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("Infinity", {"mode": "image", "batch_size": 4}, "use --api infinity"),
        ("Infinity", {}, "use --api infinity --mode mixed"),
        ("Infinity", {"batch_size": 4}, "use --api infinity --mode mixed --batch-size 1"),
        ("vLLM", {"mode": "image", "batch_size": 4}, "use --api vllm --batch-size 1"),
        ("vLLM", {"mode": "text", "batch_size": 4}, "use --api vllm"),
        ("SGLang", {"mode": "text", "api": "openai"}, "use --api v1"),
        ("SGLang", {"mode": "text", "api": "native"}, ""),
    ],
)
def test_advice(name: str, values: dict[str, Any], said: str) -> None:
    assert advice(name, Plan(**values)) == said


def test_nothing_fits_images_by_path() -> None:
    with pytest.raises(PlanError):
        Plan(api="infinity", mode="image", image_transport="path")
    assert advice("Infinity", Plan(mode="image", image_transport="path")) == ""
