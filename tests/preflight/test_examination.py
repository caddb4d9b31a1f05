"""What is sent to whom: nothing that kills, nothing together to a server that is busy, nothing that a Plan does not need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clipload.dialects import ServerItem, image_text
from clipload.preflight import examination
from clipload.preflight.asking import Ask, Reply
from clipload.preflight.examination import show_idle
from clipload.preflight.identity import Identity
from clipload.preflight.probes import PROBES
from clipload.server.lies import leak
from clipload.values import Text
from tests.preflight.targets import Scripted, lines_of, scripted, true_vector
from tests.preflight.test_identity import sglang

OTHER = Identity("Infinity", "0.0.78")
TEXTS, PAIR, SEEN, PADDING = (
    "texts in one request",
    "a text and an image in one request",
    "images are seen",
    "an image is not 'padding'",
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "APART_S", 0.0)


def load(waiting: int = 0, running: int = 0, tokens: int = 15) -> dict[str, Any]:
    row = {"num_running_reqs": running, "num_waiting_reqs": waiting, "total_prefill_uncached_tokens": tokens}
    return {"loads": [row]}


def test_a_busy_sglang_gets_one_item_at_a_time() -> None:
    now_and_then = [load(tokens=n // 4) for n in range(99)]
    for loads in ([load(waiting=1)], [load(running=2)], [load(tokens=n) for n in range(99)], now_and_then, []):
        talk = Scripted(loads=loads)
        lines = scripted(talk, sglang(), mode="text")
        assert talk.together == []
        assert lines_of(lines)[TEXTS] == "not probed"
        assert lines_of(lines)["texts may leak"] == "warning", "what could not be looked at is warned of"
        assert lines_of(lines)["long batches may kill"] == "warning"
        assert lines_of(lines)[SEEN] == "not probed", "an image that the load does not need"


def test_a_busy_sglang_gets_no_kind_of_item_that_the_load_does_not_send() -> None:
    """With those of others in flight, a text among images would be the batch that kills."""
    for mode in ("text", "image"):
        talk = Scripted(loads=[load(running=1)])
        lines = lines_of(scripted(talk, sglang(), mode=mode))
        assert {ask.has_image for ask in talk.asked} == {mode == "image"}
        assert "unfit" not in lines.values()
    assert lines["speaks"] == lines[PADDING] == "not probed"
    assert lines[SEEN] == "ok", "two images are what the load sends"


def test_an_idle_sglang_is_asked() -> None:
    talk = Scripted(loads=[load(tokens=14), load(), load()])
    lines = scripted(talk, sglang(), mode="text")
    assert [len(ask.items) for ask in talk.together] == [4, 4]
    assert lines_of(lines)[TEXTS] == lines_of(lines)[SEEN] == "ok"
    assert "texts may leak" not in lines_of(lines), "the probe has settled it"


def test_a_leak_is_told_with_its_remedy() -> None:
    lines = scripted(Scripted(leak, [load()]), sglang(), mode="text")
    found = next(line for line in lines if line.name == TEXTS)
    assert found.outcome == "unfit"
    assert "3 of 4 vectors" in found.sentence
    assert "as one sequence" in found.sentence
    assert "--prefill-max-requests 1" in found.remedy


def test_no_sglang_that_batches_ever_gets_a_pair() -> None:
    for version in ("0.4.5", "0.5.23", "0.9.0", "main"):
        talk = Scripted(loads=[load()])
        lines = scripted(talk, sglang(version))
        assert [ask for ask in talk.together if ask.has_image] == []
        assert lines_of(lines)[PAIR] == "not probed"
    talk = Scripted()
    assert lines_of(scripted(talk, sglang(prefill_max_requests=1)))[PAIR] == "ok"
    assert talk.asked[-5].has_image, "it came last of all but the other dialects"
    assert len(talk.asked[-5].items) == 2


def test_other_servers_are_not_watched() -> None:
    assert set(lines_of(scripted(Scripted(), OTHER)).values()) == {"ok"}


def test_only_what_the_plan_needs_is_asked() -> None:
    talk = Scripted()
    names = lines_of(scripted(talk, OTHER, mode="text", concurrency=1))
    assert set(names) == {"speaks", "a text has a vector", "texts are seen", "the same text twice", SEEN}
    assert talk.together == []
    talk = Scripted()
    names = lines_of(scripted(talk, OTHER, mode="image"))
    assert set(names) == {"speaks", "an image has a vector", SEEN, PADDING}
    assert len(talk.asked) == 3 + 4, "two images and 'padding', each once; and a text in four dialects"


def test_no_request_is_sent_twice() -> None:
    talk = Scripted()
    scripted(talk, OTHER, mode="mixed", batch_size=2)
    assert len(talk.asked) == len(set(talk.asked)) < sum(len(probe.asks) for probe in PROBES)


def test_openai_has_no_images() -> None:
    lines = lines_of(scripted(Scripted(), OTHER, mode="text", api="openai"))
    assert lines[SEEN] == "not probed"
    assert "unfit" not in lines.values()


def test_what_failed_once_is_not_asked_again() -> None:
    def refused(ask: Ask) -> Reply | None:
        return Reply(fault="answered 401: Unauthorized", status=401) if not ask.api else None

    talk = Scripted(faults=refused)
    lines = scripted(talk, Identity(), mode="text")
    assert [line.sentence for line in lines if line.outcome == "unfit"] == ["answered 401: Unauthorized"]
    assert "CLIPLOAD_API_KEY" in next(line.remedy for line in lines if line.outcome == "unfit")
    assert lines_of(lines)["the same text twice"] == lines_of(lines)[TEXTS] == "not probed"


def test_after_a_death_nothing_is_sent() -> None:
    def dies(ask: Ask) -> Reply | None:
        return Reply(fault="the connection broke: reset", broke=True) if ask.has_image else None

    talk = Scripted(faults=dies)
    lines = scripted(talk, OTHER)
    assert talk.asked[-1].has_image
    assert [line.sentence for line in lines if line.outcome == "unfit"] == [
        "the server died of it: the connection broke: reset"
    ]
    assert lines_of(lines)[TEXTS] == "not probed"
    assert "speaks" not in lines_of(lines)


def test_another_dialect_is_named_when_the_plans_is_not_spoken() -> None:
    def only_openai(ask: Ask) -> Reply | None:
        return Reply(fault="answered 422: x", status=422) if ask.api != "openai" else None

    spoken = scripted(Scripted(faults=only_openai), Identity("a proxy"))[0]
    assert (spoken.name, spoken.outcome) == ("speaks", "note")
    assert spoken.remedy == "use --api openai --mode text"
    silent = scripted(Scripted(faults=lambda _: Reply(fault="answered 404: x", status=404)), OTHER)[0]
    assert "no dialect that clipload speaks" in silent.sentence


def test_infinity_is_told_apart_from_a_server_that_fails() -> None:
    """It takes texts as plain strings, and images by a field of its own."""

    def objects(ask: Ask) -> Reply | None:
        return None if ask.api else Reply(fault="answered 422: Input should be a valid string", status=422)

    lines = {line.name: line for line in scripted(Scripted(faults=objects), OTHER)}
    assert "by a field modality" in lines["an image has a vector"].sentence
    assert "plain strings" in lines["a text has a vector"].sentence
    assert {lines[name].remedy for name in ("an image has a vector", "a text has a vector")} == {
        "use --api infinity: a request holds one kind, so --mode text, image or mixed"
    }
    assert lines["speaks"].remedy == "use --api infinity --mode mixed"
    assert lines["speaks"].sentence.endswith("; for Infinity, --api infinity fits")


def test_a_fault_of_another_dialect_is_not_named_in_its_own() -> None:
    def fails(ask: Ask) -> Reply | None:
        return Reply(fault="answered 500: x", status=500) if ask.has_image else None

    lines = {line.name: line for line in scripted(Scripted(faults=fails), OTHER, mode="mixed", api="infinity")}
    assert lines["an image has a vector"].sentence == "answered 500: x"
    assert lines["speaks"].remedy == "use --api openai --mode text", "it speaks it already"


def test_a_text_load_is_not_troubled_by_images_that_are_refused() -> None:
    def fails(ask: Ask) -> Reply | None:
        return Reply(fault="answered 422: x", status=422) if ask.has_image else None

    lines = lines_of(scripted(Scripted(faults=fails), OTHER, mode="text"))
    assert (lines["speaks"], lines[SEEN]) == ("ok", "note")


@pytest.mark.parametrize("api", ["infinity", "vllm"])
def test_an_sglang_gets_no_image_in_the_words_of_others(api: str) -> None:
    """It would take a data URI for a long text, and a long text in a batch is what kills it."""
    talk = Scripted(loads=[load()])
    lines = {line.name: line for line in scripted(talk, sglang(), mode="mixed", api=api)}
    assert not any(ask.has_image for ask in talk.asked)
    assert (lines["speaks"].outcome, lines["speaks"].remedy) == ("unfit", "use --api v1")
    assert lines["speaks"].sentence.startswith(f"--api {api} is not SGLang's")
    longest = max(len(item.text) for ask in talk.asked for item in ask.items if isinstance(item, Text))
    assert longest < 77


def test_images_that_are_read_as_texts() -> None:
    """A server that does not know `modality` reads a data URI as a text, and two of them differ."""

    def letters(ask: Ask) -> Reply | None:
        words = [item.text if isinstance(item, Text) else image_text(item) for item in ask.items]
        return Reply(np.array([true_vector(ServerItem(text=word)) for word in words]), status=200)

    lines = {line.name: line for line in scripted(Scripted(faults=letters), Identity("a proxy"), mode="image", api="infinity")}
    assert lines[SEEN].outcome == lines[PADDING].outcome == "ok"
    found = lines["an image is not its letters"]
    assert (found.outcome, found.remedy) == ("unfit", "the field modality is not known here: use --api v1")
    assert found.sentence.startswith("images are read as texts")


def test_base64_that_is_not_sent() -> None:
    def floats(ask: Ask) -> Reply | None:
        return None if ask.encoding != "base64" else Reply(Scripted()._honest(ask).vectors, "float", status=200)

    lines = scripted(Scripted(faults=floats), sglang("0.5.16"), mode="text", encoding_format="base64")
    found = next(line for line in lines if line.name == "base64")
    assert (found.outcome, "--encoding-format float" in found.remedy) == ("unfit", True)
    assert "up to 0.5.16" in found.sentence


@pytest.mark.parametrize(
    ("before", "after", "idle"),
    [
        (load(), load(), True),
        (load(), load(tokens=16), False),
        (load(waiting=1), load(), False),
        (load(), load(running=1), False),
        ([{"num_reqs": 0, "num_waiting_reqs": 0}], [{"num_reqs": 0, "num_waiting_reqs": 0}], True),
        ([{"num_reqs": 1, "num_waiting_reqs": 0}], [{"num_reqs": 0, "num_waiting_reqs": 0}], False),
        ({"loads": []}, {"loads": []}, False),
        ({}, {}, False),
        (None, None, False),
        ([3], [3], False),
        ([{"num_reqs": None, "num_waiting_reqs": 0}], [{"num_reqs": 0, "num_waiting_reqs": 0}], False),
    ],
)
def test_idle_is_what_shows_itself_to_be(before: Any, after: Any, idle: bool) -> None:
    assert show_idle(before, after) is idle
