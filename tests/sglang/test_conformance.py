"""The reference server beside a real SGLang: the same requests, and what a client can tell apart of the answers.

Statuses and the shapes of JSON (keys in order, kinds of values) must agree, and so must vectors when both serve one model: when
the real server's checkpoint lies on this machine, the clip engine loads it too. Words of messages may differ.

What differs on purpose, and is not asked here: token ids (the clip engine takes none), paths and URLs of images (the reference
server opens nothing), and the time that /health takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.wire import JSON, Answer, once, picture
from tests.servers import Server, running_server

URL = os.environ.get("CLIPLOAD_SGLANG_URL", "")
pytestmark = [
    pytest.mark.clock,
    pytest.mark.sglang,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not URL, reason="CLIPLOAD_SGLANG_URL names no server"),
]
ONE, TWO = picture(1), picture(2, side=70)
LONG = "a " * 100
EMBEDDINGS, ENCODE = "/v1/embeddings", "/encode"


class Pair(NamedTuple):
    """Who answered: the reference server and the real one."""

    mine: Answer
    real: Answer


@pytest.fixture(scope="module")
def checkpoint() -> Path | None:
    """The real server's model, when it lies here."""
    path = Path(once(URL, "GET", "/model_info").json["model_path"])
    return path if (path / "config.json").is_file() else None


@pytest.fixture(scope="module")
def reference(checkpoint: Path | None) -> Iterator[Server]:
    flags = ("clip", "--model", str(checkpoint)) if checkpoint is not None else ("clip", "--size", "tiny")
    with running_server(*flags, "--enable-metrics") as server:
        yield server


def both(server: Server, method: str, path: str, body: Any = None, headers: Any = JSON) -> Pair:
    return Pair(once(server.url, method, path, body, headers), once(URL, method, path, body, headers))


def shape(value: Any) -> Any:
    """What remains of a JSON value without its contents; arrays of numbers are all alike."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return "numbers" if value and all(type(inner) is float for inner in value) else [shape(inner) for inner in value]
    return type(value).__name__


def check(answers: Pair) -> None:
    """Statuses, and shapes with the keys in order."""
    mine, real = answers
    assert mine.status == real.status, (mine.body[:300], real.body[:300])
    kinds = [answer.headers.get("content-type", "").split(";")[0] for answer in answers]
    if kinds[1] != "application/json":
        assert kinds[0] != "application/json"
        assert mine.body == real.body
        return
    assert kinds[0] == kinds[1]
    assert json.dumps(shape(mine.json)) == json.dumps(shape(real.json))


def vectors(answer: Answer) -> np.ndarray:
    document = answer.json
    rows = document["data"] if "data" in document else document if isinstance(document, list) else [document]
    found = np.array([row["embedding"] for row in rows])
    return found / np.linalg.norm(found, axis=1, keepdims=True)  # SGLang's text vectors are not of unit length


SERVED: list[tuple[str, Any]] = [
    (EMBEDDINGS, {"input": "a dog"}),
    (EMBEDDINGS, {"input": ["a dog", "two cats"], "model": "m"}),
    (EMBEDDINGS, {"input": [{"text": "a dog"}, {"text": "two cats"}]}),
    (EMBEDDINGS, {"input": [{"image": ONE}, {"image": TWO}]}),
    (EMBEDDINGS, {"input": [{"text": "a dog"}, {"image": ONE}]}),
    (EMBEDDINGS, {"input": [{"text": "a dog", "image": ONE}]}),
    (EMBEDDINGS, {"input": [{"unknown": 1}]}),
    (ENCODE, {"text": "a dog"}),
    (ENCODE, {"text": ["a dog"]}),
    (ENCODE, {"text": ["a dog", "two cats"]}),
    (ENCODE, {"text": "a dog", "image_data": None, "model": "m", "unknown": 1}),
    (ENCODE, {"text": ["a dog", "padding"], "image_data": [None, ONE]}),
    (ENCODE, {"text": ["a dog", "two cats"], "image_data": [None, None]}),
    (ENCODE, {"text": "padding", "image_data": ONE}),
    (ENCODE, {"text": "padding", "image_data": [ONE, TWO]}),
    (ENCODE, {"text": ["padding", "padding"], "image_data": ONE}),
    (ENCODE, {"text": ["padding", "padding"], "image_data": [[ONE], [TWO]]}),
    (ENCODE, {"image_data": ONE}),
    (ENCODE, {"image_data": [ONE, TWO]}),
    (ENCODE, {"image_data": [[ONE], [TWO]]}),
]


@pytest.mark.parametrize(("path", "body"), SERVED, ids=lambda given: str(given)[:60])
def test_what_is_served(reference: Server, checkpoint: Path | None, path: str, body: Any) -> None:
    answers = both(reference, "POST", path, body)
    check(answers)
    assert answers.real.status == 200
    if checkpoint is not None:
        cosines = (vectors(answers.mine) * vectors(answers.real)).sum(axis=1)
        assert cosines.min() > 0.9999


def test_base64_holds_the_same_bytes_as_floats(reference: Server) -> None:
    check(both(reference, "POST", EMBEDDINGS, {"input": ["a dog", "b"], "encoding_format": "base64"}))


def test_an_empty_batch_and_an_empty_text(reference: Server) -> None:
    for text in ([], "", ["a", ""]):
        check(both(reference, "POST", ENCODE, {"text": text}))


def test_put_is_post(reference: Server) -> None:
    check(both(reference, "PUT", ENCODE, {"text": ["a", "b"]}))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *[(EMBEDDINGS, body) for body in (b"{", b"[1]", b"{}", {"input": []}, {"input": ""}, {"input": ["a", " "]})],
        *[(EMBEDDINGS, {"input": given}) for given in (3, ["a", {"text": "b"}], [{"image": {"url": "x"}}], [1, -1], LONG)],
        *[(EMBEDDINGS, {"input": "a"} | more) for more in ({"encoding_format": "int8"}, {"dimensions": 8}, {"model": 3})],
        (EMBEDDINGS, {"input": [{"image": "junk"}]}),
        (EMBEDDINGS, {"input": [{"text": "a"}, {"image": "data:image/png;base64,AAAA"}]}),
        *[(ENCODE, body) for body in (b"{", b"[1]", {}, {"text": None}, {"text": 3}, {"text": ["a", 3]}, {"text": LONG})],
        *[(ENCODE, {"text": "padding", "image_data": image}) for image in ("junk", 3)],
        (ENCODE, {"text": ["a", LONG]}),
        (ENCODE, {"text": ["a", "b"], "image_data": [ONE]}),
        (ENCODE, {"text": ["a"], "image_data": [ONE, TWO]}),
        (ENCODE, {"text": "a", "input_ids": [3]}),
        (ENCODE, {"text": "a", "dimensions": 8}),
    ],
    ids=lambda given: str(given)[:60],
)
def test_what_is_refused(reference: Server, path: str, body: Any) -> None:
    answers = both(reference, "POST", path, body)
    check(answers)
    assert answers.real.status == 400


@pytest.mark.parametrize("path", [EMBEDDINGS, ENCODE])
def test_a_wrong_content_type_and_a_wrong_method(reference: Server, path: str) -> None:
    check(both(reference, "POST", path, b'{"input":"a","text":"a"}', {"content-type": "text/plain"}))
    check(both(reference, "GET", path))
    check(both(reference, "DELETE", path))


@pytest.mark.parametrize("path", ["/health", "/health_generate", "/ready", "/v1/models", "/v1/models/none", "/nowhere"])
def test_the_control_plane(reference: Server, path: str) -> None:
    check(both(reference, "GET", path))


@pytest.mark.parametrize("path", ["/model_info", "/get_model_info", "/server_info", "/get_server_info"])
def test_what_the_reference_says_of_itself_sglang_says_too(reference: Server, path: str) -> None:
    """SGLang says more; the reference server's own additions are named here."""
    own = {"engine", "profiles", "max_batch", "threads", "backend", "random_weights"}
    mine, real = both(reference, "GET", path)
    assert mine.status == real.status == 200
    assert mine.json.keys() - own <= real.json.keys()
    for key, value in mine.json.items():
        if key not in own and real.json[key] is not None:
            assert type(value) is type(real.json[key]), key


def test_a_profile(reference: Server, tmp_path: Path) -> None:
    options = {"output_dir": str(tmp_path), "activities": ["CPU"]}
    asked = [("stop", None), ("start", options), ("start", options), ("stop", None), ("stop", {})]
    statuses = []
    for verb, body in asked:
        answers = both(reference, "POST", f"/{verb}_profile", body, JSON if body is not None else {})
        check(answers)
        statuses.append(answers.real.status)
    assert statuses == [500, 200, 200, 200, 500]
    for wrong in (b"{", b"[1]", {"num_steps": "x"}):
        check(both(reference, "POST", "/start_profile", wrong))


def _families(answer: Answer) -> dict[str, tuple[str, frozenset[str]]]:
    """Name → (kind, the labels that its samples have)."""
    assert answer.status == 200
    read = text_string_to_metric_families(answer.body.decode())
    return {one.name: (one.type, frozenset().union(*(sample.labels for sample in one.samples))) for one in read}


def test_metrics_have_sglangs_names_kinds_and_labels(reference: Server) -> None:
    both(reference, "POST", ENCODE, {"text": "a"})
    mine, real = (_families(answer) for answer in both(reference, "GET", "/metrics"))
    assert len(mine) >= 8
    assert {name: real.get(name) for name in mine} == mine


def test_latency_has_sglangs_buckets(reference: Server) -> None:
    name = "sglang:e2e_request_latency_seconds_bucket"
    both(reference, "POST", ENCODE, {"text": "a"})
    edges = [
        {
            sample.labels["le"]
            for one in text_string_to_metric_families(answer.body.decode())
            for sample in one.samples
            if sample.name == name
        }
        for answer in both(reference, "GET", "/metrics")
    ]
    assert edges[0] == edges[1] != set()
