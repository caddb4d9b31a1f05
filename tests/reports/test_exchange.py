"""What --debug prints: everything but images, vectors and the key."""

from __future__ import annotations

import orjson

from clipload.credentials import Credentials
from clipload.reports.exchange import elided, exchange_text
from clipload.target import Exchange

PIXELS = "QUJD" * 500


def test_images_and_vectors_are_elided_and_the_rest_is_not() -> None:
    body = orjson.dumps({"model": "m", "input": [{"text": "a beach"}, {"image": f"data:image/png;base64,{PIXELS}"}]})
    answer = orjson.dumps({"data": [{"embedding": [0.25] * 512, "index": 0}, {"embedding": PIXELS}], "model": "m"})
    text = exchange_text(Exchange("http://h:1/v1/embeddings", body, 200, answer))
    assert "QUJDQUJD" not in text
    assert "0.25" not in text
    for word in ("http://h:1/v1/embeddings", '"text":"a beach"', "data:image/png;base64,<2022 characters>", "<512 numbers>"):
        assert word in text
    assert "debug: 200" in text


def test_short_values_stay() -> None:
    value = {"a": [1, 2.5], "b": None, "c": "x" * 400, "d": [True, "y", {"e": []}]}
    assert elided(value) == value


def test_of_a_long_list_the_first_are_shown() -> None:
    assert elided(list("abcdefghij")) == ["a", "b", "c", "d", "<6 more>"]
    assert elided(list("abcdefgh")) == list("abcdefgh")


def test_the_key_is_masked_in_json_and_elsewhere() -> None:
    for answer in (b'{"error":"no sesame here"}', b"no sesame here"):
        text = Credentials("sesame").mask(exchange_text(Exchange("http://h:1/encode", b"{}", 401, answer)))
        assert "sesame" not in text
        assert "no *** here" in text


def test_a_reply_that_is_no_json_is_shown_as_far_as_it_is_short() -> None:
    assert "Internal Server Error" in exchange_text(Exchange("u", b"{}", 500, b"Internal Server Error"))
    assert "(9000 characters)" in exchange_text(Exchange("u", b"{}", 500, b"x" * 9000))
