"""Every lie of the reference server has its named reason, or is left to a load; an honest one is fit. No SGLang is needed."""

from __future__ import annotations

from typing import Any

import pytest

from clipload.dialects import DIALECTS
from clipload.preflight import Fitness, asking
from clipload.server.lies import LIES
from tests.preflight.targets import QUICK, examined, lines_of

FOUND: dict[str, tuple[str, str]] = {  # lie → the probe that finds it, and what it says
    "ignore-images": ("images are seen", "images are ignored: what differs has the same vector (cosine 1.0000)"),
    "leak": ("texts in one request", "texts together disturb each other: 3 of 4 vectors are not those of the same alone"),
    "swap": ("texts in one request", "texts together disturb each other: the vectors come in another order: 2, 3, 4, 1"),
    "nan": ("a text has a vector", "answered 200, but a vector is not finite"),
    "radix": ("the same text twice", "the same text twice gives two vectors: cosine "),
}
BY_TIME = "cache"  # gives true vectors: tests/end_to_end/test_recurrence_found.py
BY_DEATH = "die-on-mixed"  # ends the process, so it has one of its own: tests/end_to_end/test_preflight.py


def reasons(fitness: Fitness) -> dict[str, str]:
    return {line.name: line.sentence for line in fitness.reasons}


@pytest.mark.parametrize("mode", ["text", "image", "multimodal", "mixed"])
def test_an_honest_server_is_fit(mode: str) -> None:
    found = examined(mode=mode, batch_size=2)
    assert found.fit, reasons(found)
    assert set(lines_of(found).values()) == {"ok"}
    assert (found.identity.name, found.identity.engine) == ("clipload serve", "sim")
    assert 0 < found.requests < 25


@pytest.mark.parametrize("lie", FOUND)
def test_each_lie_has_its_reason(lie: str) -> None:
    name, sentence = FOUND[lie]
    found = reasons(examined(options={**QUICK, "lie": lie}))
    assert found[name].startswith(sentence), found
    if lie in ("ignore-images", "leak"):
        assert list(found) == [name]


def test_every_lie_is_looked_for() -> None:
    assert {*FOUND, BY_DEATH, BY_TIME} == set(LIES)


@pytest.mark.parametrize(
    ("lie", "plan"),
    [
        ("leak", {"mode": "text", "concurrency": 1}),  # nothing meets: it is told the truth
        ("leak", {"mode": "image"}),
        ("radix", {"mode": "image"}),
        ("die-on-mixed", {"mode": "text", "concurrency": 1}),
        ("die-on-mixed", {"mode": "mixed"}),  # one Item a request: only a load shows it
    ],
)
def test_what_a_load_does_not_meet_is_no_reason(lie: str, plan: dict[str, Any]) -> None:
    assert examined(options={**QUICK, "lie": lie}, **plan).fit


def test_a_text_load_hears_that_images_are_ignored_and_goes_on() -> None:
    found = examined(options={**QUICK, "lie": "ignore-images"}, mode="text")
    assert found.fit
    line = next(line for line in found.lines if line.name == "images are seen")
    assert (line.outcome, "--mode text does not need it" in line.sentence) == ("note", True)


def test_not_a_number_is_found_in_base64_too() -> None:
    found = reasons(examined(options={**QUICK, "lie": "nan"}, encoding_format="base64", mode="text"))
    assert found["a text has a vector"] == "texts get no vectors: a vector is not finite"


def test_a_cache_that_has_met_a_preflight_before_is_found_again() -> None:
    assert "the same text twice" in reasons(examined(times=3, options={**QUICK, "lie": "radix"}, mode="text"))


SERVED = {"infinity": "infinity", "vllm": "vllm"}  # others are spoken by a server of SGLang's shape


@pytest.mark.parametrize("api", DIALECTS)
def test_every_dialect_finds_a_leak(api: str) -> None:
    found = examined(options={**QUICK, "lie": "leak", "api": SERVED.get(api, "v1")}, mode="text", api=api)
    assert list(reasons(found)) == ["texts in one request"]


@pytest.mark.parametrize("api", ["infinity", "vllm"])
@pytest.mark.parametrize("mode", ["text", "image", "mixed"])
def test_servers_of_the_field_are_fit_in_their_own_dialect(api: str, mode: str) -> None:
    found = examined(options={**QUICK, "api": api}, mode=mode, api=api)
    assert found.fit, reasons(found)
    assert set(lines_of(found).values()) == {"ok"}


def test_a_server_that_reads_images_as_texts_is_unfit() -> None:
    """SGLang's shape knows no `modality`: it takes a data URI for a text."""
    found = reasons(examined(mode="image", api="infinity"))
    assert list(found) == ["an image is not its letters"]


def test_a_key_that_is_missing() -> None:
    locked = {**QUICK, "api_key": "sesame"}
    found = examined(options=locked, mode="text")
    assert next(iter(reasons(found).values())).startswith("answered 401")
    assert "CLIPLOAD_API_KEY" in found.reasons[0].remedy
    assert examined(key="sesame", options=locked, mode="text").fit


def test_a_server_that_fails_now_and_then_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSE_S", 0.0)
    assert examined(options={**QUICK, "error_rate": 0.2, "seed": 2}, mode="text").fit
    always = reasons(examined(options={**QUICK, "error_rate": 1.0}, mode="text", concurrency=1))
    assert always["a text has a vector"].startswith("answered 500: Internal server error: scripted")


def test_the_document_says_all() -> None:
    found = examined(options={**QUICK, "lie": "ignore-images"})
    document = found.document()
    assert document["fit"] is False
    assert document["server"]["name"] == "clipload serve"
    assert [line["name"] for line in document["lines"] if line["outcome"] == "unfit"] == ["images are seen"]
    assert document["took_ns"] > 0
