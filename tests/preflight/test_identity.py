"""Who a target is, from its documents: names, versions, facts; and no secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.preflight.identity import FACTS, Identity, identify

MODELS = {"object": "list", "data": [{"id": "clip-tiny", "object": "model", "owned_by": "sglang"}]}
MODEL = {
    "model_path": "/models/clip-tiny",
    "is_generation": False,
    "model_type": "clip",
    "architectures": ["CLIPModel"],
    "embedding": {"family": "clip", "cache": {"radix_cache_disabled": True}},
}
SERVER = {
    "version": "0.5.23",
    "dtype": "float32",
    "tp_size": 1,
    "prefill_max_requests": None,
    "disable_radix_cache": True,
    "api_key": "sesame",
    "admin_api_key": "sesame",
    "ssl_keyfile_password": "sesame",
}


def sglang(version: str = "0.5.23", **facts: Any) -> Identity:
    return identify({"/v1/models": MODELS, "/model_info": MODEL, "/server_info": SERVER | {"version": version} | facts})


def test_sglang_by_its_new_names_and_by_its_old_ones() -> None:
    new = sglang()
    old = identify({"/v1/models": MODELS, "/get_model_info": MODEL, "/get_server_info": SERVER})
    assert new == old
    assert (new.name, new.version, new.release) == ("SGLang", "0.5.23", (0, 5, 23, 0))
    assert new.facts["dtype"] == "float32"
    assert new.facts["disable_radix_cache"] is True
    assert new.facts["architectures"] == ["CLIPModel"]


def test_the_radix_cache_is_known_from_the_model_when_the_server_is_silent() -> None:
    model = MODEL | {"embedding": {"cache": {"radix_cache_disabled": False}}}
    assert identify({"/model_info": model}).facts["disable_radix_cache"] is False
    assert identify({"/model_info": model}).name == "SGLang", "nobody else has is_generation"


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.just("sesame")))
def test_no_secret_gets_into_an_identity(more: dict[str, str]) -> None:
    """Whatever a server prints under a name that was not asked for."""
    unasked = {name: value for name, value in more.items() if name not in (*FACTS, "version", "engine")}
    who = identify({"/server_info": SERVER | unasked, "/model_info": MODEL | unasked, "/v1/models": MODELS})
    assert "sesame" not in json.dumps(who.facts) + repr(who)


def owned(by: str) -> dict[str, Any]:
    return {"data": [{"id": "m", "owned_by": by}]}


@pytest.mark.parametrize(
    ("documents", "shown"),
    [
        ({"/v1/models": owned("infinity"), "/v1/openapi.json": {"info": {"version": "0.0.78"}}}, "Infinity 0.0.78"),
        ({"/v1/models": owned("vllm"), "/version": {"version": "0.11.2"}}, "vLLM 0.11.2"),
        ({"/server_info": {"version": "clipload 0.1.0", "engine": "sim"}}, "clipload serve 0.1.0"),
        ({"/v1/models": owned("somebody")}, "a server that does not say its name"),
        ({}, "a server that does not say its name"),
        ({"/v1/models": [3], "/server_info": "x", "/model_info": None}, "a server that does not say its name"),
        ({"/v1/models": {"data": [3]}, "/server_info": {"version": 3}}, "a server that does not say its name"),
    ],
)
def test_others(documents: dict[str, Any], shown: str) -> None:
    assert str(identify(documents)) == shown


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("0.4.9.post2", (0, 4, 9, 2)),
        ("0.4.9.post6", (0, 4, 9, 6)),
        ("0.4.9", (0, 4, 9, 0)),
        ("0.5.10.post1+cpu", (0, 5, 10, 1)),
        ("0.5.9rc1", (0, 5, 9, 0)),
        ("0.0.0.dev1+g12", None),
        ("main", None),
        ("", None),
    ],
)
def test_versions(version: str, release: tuple[int, ...] | None) -> None:
    assert sglang(version).release == release


def test_only_sglang_that_takes_several_requests_batches_them() -> None:
    assert sglang().batches_requests
    assert not sglang(prefill_max_requests=1).batches_requests
    assert not sglang(max_running_requests=1).batches_requests
    assert sglang(max_running_requests=2).batches_requests
    assert not Identity("Infinity", "0.0.78").batches_requests
