"""A plain HTTP client for the tests: one request, one answer, on a connection that the caller may keep."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as Pillow

JSON = {"content-type": "application/json"}
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, body unread by anybody."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_S)


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, headers: Mapping[str, str] = JSON
) -> Answer:
    """`body` is bytes as they stand, or a document to be printed as JSON."""
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method, path, sent, dict(headers))
    reply = connection.getresponse()
    return Answer(reply.status, reply.read(), {name.lower(): value for name, value in reply.getheaders()})


def once(url: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] = JSON) -> Answer:
    connection = connect(url)
    try:
        return ask(connection, method, path, body, headers)
    finally:
        connection.close()


def embed(url: str, given: Any, **fields: Any) -> Answer:
    return once(url, "POST", "/v1/embeddings", {"input": given, "model": "m"} | fields)


def vectors(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.body[:500]
    return np.array([row["embedding"] for row in answer.json["data"]])


def picture(seed: int, side: int = 40, image_format: str = "PNG") -> str:
    """A data URI of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    file = BytesIO()
    Pillow.fromarray(pixels).save(file, image_format)
    return f"data:image/{image_format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
