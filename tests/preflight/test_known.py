"""What is known of SGLang: which versions and flags have which fault, and that every line of the tables can be reached."""

from __future__ import annotations

from typing import Any

import pytest

from clipload.plan import Plan
from clipload.preflight.identity import Identity, identify
from clipload.preflight.known import KNOWN, dies_of_pairs
from clipload.preflight.probes import PROBES, TEXTS
from clipload.values import Text
from tests.preflight.test_identity import sglang


def faults(version: str, **facts: Any) -> set[str]:
    return {known.name for known in KNOWN if known.has(sglang(version, **facts))}


LEAK, KILL, PAIRS, IGNORED, LOADS, FLOATS, UNREAD = (
    "texts may leak",
    "long batches may kill",
    "pairs may kill",
    "images may be ignored",
    "a patched build",
    "base64 may be ignored",
    "a version newer than known",
)


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("0.4.5", {LEAK, PAIRS, FLOATS}),
        ("0.4.9.post2", {LEAK, PAIRS, FLOATS}),
        ("0.4.9.post3", {LEAK, PAIRS, FLOATS, IGNORED}),
        ("0.5.16", {LEAK, PAIRS, FLOATS, IGNORED}),
        ("0.5.17", {LEAK, PAIRS, IGNORED}),
        ("0.5.18", {LEAK, PAIRS, IGNORED, KILL}),
        ("0.5.19", {LEAK, PAIRS, IGNORED, KILL}),
        ("0.5.20", {LEAK, PAIRS, IGNORED, KILL, LOADS}),
        ("0.5.23", {LEAK, PAIRS, IGNORED, KILL, LOADS}),
        ("0.5.23.post1", {UNREAD}),
        ("0.5.24", {UNREAD}),
        ("main", set()),
    ],
)
def test_faults_by_version(version: str, known: set[str]) -> None:
    assert faults(version) == known


def test_faults_by_flag() -> None:
    assert faults("main", disable_radix_cache=False) == {"a radix cache"}
    assert faults("main", enable_tokenizer_batch_encode=True) == {"batch encoding may drop images"}
    assert faults("main", allow_auto_truncate=True) == {"long texts may be cut"}
    assert faults("main", chat_template="chatml") == {"a chat template"}
    assert faults("0.5.23", prefill_max_requests=1) == {IGNORED, LOADS}


def test_nothing_of_sglangs_is_said_of_others() -> None:
    assert [known.name for known in KNOWN for who in (Identity("clipload serve", "0.5.23"), Identity()) if known.has(who)] == []
    infinity = [known.name for known in KNOWN if known.has(Identity("Infinity", "0.0.78"))]
    assert infinity == ["Infinity: texts", "Infinity: images"]
    of_its_own = [known.name for known in KNOWN if known.concerns(Identity("Infinity", "0.0.78"), "infinity")]
    assert of_its_own == []


def test_an_infinity_without_a_prefix_is_told_to_have_one() -> None:
    who = identify({"/models": {"data": [{"id": "m", "owned_by": "infinity"}]}})
    assert (who.name, who.facts["prefix"]) == ("Infinity", "none")
    found = [known for known in KNOWN if known.concerns(who, "infinity")]
    assert {known.remedy for known in found} == {"start it with --url-prefix /v1"}
    assert {known.settles for known in found} == {"a text has a vector", "an image has a vector"}
    assert "prefix" not in identify({"/v1/models": {"data": [{"id": "m", "owned_by": "infinity"}]}}).facts


def test_a_pair_is_kept_from_every_sglang_that_batches() -> None:
    """Of versions that nobody has read, too."""
    assert all(dies_of_pairs(sglang(version)) for version in ("0.4.5", "0.5.23", "0.6.0", "main"))
    assert not dies_of_pairs(sglang(prefill_max_requests=1))
    assert not dies_of_pairs(Identity("clipload serve", "0.1.0"))


def test_the_tables_speak_of_each_other() -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)
    assert {known.settles for known in KNOWN} - {""} <= set(names)
    assert {probe.rests_on for probe in PROBES} - {""} <= set(names)
    assert len({known.name for known in KNOWN}) == len(KNOWN)
    assert all(known.remedy and known.what for known in KNOWN)


def test_the_texts_of_one_request_stay_under_77_tokens_in_any_vocabulary() -> None:
    """A token is a byte at least; two more stand at the ends of each text, and the nonce has four characters."""
    for probe in PROBES:
        for ask in probe.asks:
            if probe.name == "an image is not its letters":  # no SGLang is asked it: test_examination.py
                continue
            texts = [item.text.replace("{nonce}", "0f1e") for item in ask.items if isinstance(item, Text)]
            assert sum(len(text.encode()) + 2 for text in texts) < 77
    assert len(TEXTS) == 4


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ({"mode": "text", "concurrency": 1}, "texts"),
        ({"mode": "text"}, "texts, crowded"),
        ({"mode": "text", "rate": 5}, "texts, crowded"),
        ({"mode": "text", "concurrency": 1, "batch_size": 2}, "texts, crowded"),
        ({"mode": "image"}, "images"),
        ({"mode": "image", "batch_size": 2}, "images, images together"),
        ({"mode": "multimodal"}, "texts, crowded, images, pairs"),
        ({"mode": "mixed"}, "texts, crowded, images"),
        ({"mode": "mixed", "batch_size": 2}, "texts, crowded, images, images together, pairs"),
    ],
)
def test_what_a_load_needs(values: dict[str, Any], needed: str) -> None:
    marks = {
        "a text has a vector": "texts",
        "texts in one request": "crowded",
        "images are seen": "images",
        "images in one request": "images together",
        "a text and an image in one request": "pairs",
    }
    plan = Plan(**values)
    assert {marks[p.name] for p in PROBES if p.name in marks and p.needed(plan)} == set(needed.split(", "))
