"""One request and its reply for people: whole, but for images and vectors, of which only the size is told."""

from __future__ import annotations

from typing import Any

import orjson

from clipload.target import Exchange

LONGEST_TEXT = 400  # characters: CLIP's 76 tokens are fewer, an image or a base64 vector is more
LONGEST_LIST, FIRST = 8, 4  # a longer one is shown by its first, one of numbers by its length
LONGEST_OTHER = 2000  # characters of a reply that is no JSON


def exchange_text(exchange: Exchange) -> str:
    """Four lines. A target may repeat secrets in its reply: they are for the caller to mask."""
    return "\n".join(
        [
            f"debug: POST {exchange.url} ({len(exchange.body)} bytes)",
            _shown(exchange.body),
            f"debug: {exchange.status} ({len(exchange.answer)} bytes)",
            _shown(exchange.answer),
        ]
    )


def _shown(data: bytes) -> str:
    try:
        return orjson.dumps(elided(orjson.loads(data))).decode()
    except orjson.JSONDecodeError:
        text = data.decode("utf-8", "replace")
        return text if len(text) <= LONGEST_OTHER else f"{text[:LONGEST_OTHER]}… ({len(text)} characters)"


def elided(value: Any) -> Any:
    """The same JSON value with long texts and long lists of numbers replaced by their size. A data URI keeps its type."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        kind, comma, _ = value[:80].partition(",") if value.startswith("data:") else ("", "", "")
        return f"{kind}{comma}<{len(value)} characters>"
    if isinstance(value, list):
        if len(value) > LONGEST_LIST and all(isinstance(each, int | float) for each in value):
            return f"<{len(value)} numbers>"
        more = [f"<{len(value) - FIRST} more>"] if len(value) > LONGEST_LIST else []
        return [elided(each) for each in (value[:FIRST] if more else value)] + more
    return {name: elided(each) for name, each in value.items()} if isinstance(value, dict) else value
