"""`remote`: a server as a Backend. One Item a request, as many in flight as its Plan's `concurrency` says.

A picture goes as the bytes of its file: the server decodes what a local model decodes. What the server says of its model and
dtype is recorded, and what it does not say is not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import aiohttp
import orjson
from PIL import Image as Pillow

from clipload.backends import BackendOptions, Prepared, Vectors, checked
from clipload.backends.inquiry import Inquiry
from clipload.credentials import Credentials
from clipload.plan import Plan
from clipload.target import open_session
from clipload.transports import Endpoint
from clipload.values import Image, Item, Sample

UNKNOWN = "unknown"
DTYPES = {"float32": "fp32", "float": "fp32", "float16": "fp16", "half": "fp16", "bfloat16": "bf16"}
_INFO = ("/server_info", "/get_server_info", "/model_info")  # SGLang's, newest name first


def make(options: BackendOptions) -> Remote:
    return Remote(options)


class Remote:
    """TargetError when the server cannot be reached, or does not answer a request as it should."""

    name = "remote"

    def __init__(self, options: BackendOptions) -> None:
        plan = options.target or Plan()
        if plan.insecure:
            options.say("--insecure: nobody has verified who answers")
        self.inquiry = Inquiry(plan.replace(model=options.model or plan.model), options.credentials)
        self._said: dict[str, str] | None = None

    def prepare(self, item: Item) -> Prepared:
        """A picture is decoded once, so that a broken one is found here and not by the server."""
        if isinstance(item, Image):
            with Pillow.open(BytesIO(item.data)) as picture:
                picture.load()
        return Prepared(item)

    def encode(self, items: Sequence[Item | Prepared]) -> Vectors:
        given = [item.content if isinstance(item, Prepared) else item for item in items]
        vectors = self.inquiry.ask([Sample((item,)) for item in given])
        return checked(vectors.reshape(len(given), vectors.shape[2]), len(given), self.name)

    def facts(self) -> dict[str, Any]:
        if self._said is None:
            inquiry = self.inquiry
            self._said = inquiry.run(said_of_itself(inquiry.plan, inquiry.endpoint, inquiry.credentials))
        plan = self.inquiry.plan
        return {
            "backend": self.name,
            "model": self._said.get("model", plan.model),
            "server": self.inquiry.endpoint.url,
            "api": plan.api,
            "dtype": self._said.get("dtype", UNKNOWN),
            "concurrency": plan.concurrency,
        }

    def close(self) -> None:
        self.inquiry.close()


async def said_of_itself(plan: Plan, endpoint: Endpoint, credentials: Credentials) -> dict[str, str]:
    """`model` and `dtype` (ours: fp32, …), as far as SGLang's paths tell them. A server that has none of them says nothing."""
    said: dict[str, str] = {}
    async with open_session(plan, endpoint, credentials) as session:
        for path in _INFO:
            try:
                async with session.get(path, allow_redirects=False) as reply:
                    document = orjson.loads(await reply.read()) if reply.status == 200 else None
            except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError):
                continue
            if isinstance(document, dict):
                model, dtype = document.get("model_path"), DTYPES.get(str(document.get("dtype")))
                said |= {"model": str(model)} if model and "model" not in said else {}
                said |= {"dtype": dtype} if dtype and "dtype" not in said else {}
            if "model" in said:
                break
    return said
