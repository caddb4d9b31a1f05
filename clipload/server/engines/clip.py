"""A CLIP model behind the API: what arrives while the model works is served together in its next pass.

Vectors are unit length, texts' too (SGLang's text vectors point the same way but are not normalised). A text's vector does not
depend on the batch it met: texts are padded to the longest of their batch and masked.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipload.backends.checkpoints import Loaded, load
from clipload.backends.towers import image_features, padded, text_features
from clipload.dialects import ServerDialect, ServerItem, Vectors
from clipload.server.engines import BAD_REQUEST, INTERNAL_ERROR, Refusal, queue_full, too_long
from clipload.server.images import decode_image
from clipload.server.options import ServerOptions

DEFAULT_BATCH = 32
JOIN_S = 0.5
DECODERS = 4

Pixels = NDArray[np.float32]


def make(options: ServerOptions) -> ClipEngine:
    return ClipEngine(options)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One item, ready for the model: token ids, or pixels of shape [3, side, side]."""

    ids: tuple[int, ...] = ()
    pixels: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """An item in the model's queue and where its vector is awaited."""

    prepared: Prepared
    vector: asyncio.Future[Vectors]


class ClipEngine:
    """One thread for the model, a few for parsing, decoding and printing; the loop only carries bytes."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._threads = options.threads or _cores()
        self._loaded = load(options.model_dir, options.size or "b32", options.seed)
        self.model = options.served_model_name or self._loaded.name
        self._pool = ThreadPoolExecutor(min(DECODERS, _cores()), "clipload-decode")
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._waiting = 0  # items accepted and not yet in the model

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="clipload-model", daemon=True)
        self._thread.start()
        side = self._loaded.model.config.vision_config.image_size
        blank = Prepared(pixels=np.zeros((3, side, side), np.float32))
        await self._embed([blank, Prepared(ids=self._ids("warm up"))])  # the first pass of a model is the slowest

    async def answer(self, dialect: ServerDialect, body: bytes) -> bytes:
        limit = self._options.max_queue
        if limit is not None and self._waiting >= max(1, limit):
            raise queue_full()
        request = dialect.parse(body)
        prepared, tokens = await self._loop.run_in_executor(self._pool, self._prepare_all, request.items)
        vectors = await self._embed(prepared)
        return await self._loop.run_in_executor(self._pool, dialect.reply, request, vectors, tokens, self.model)

    def facts(self) -> dict[str, object]:
        batch = self._options.max_batch or DEFAULT_BATCH
        return {"max_batch": batch, "threads": self._threads, "random_weights": self._options.model_dir is None}

    async def close(self) -> bool:
        self._jobs.put(None)
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._thread.join, JOIN_S)
        return not self._thread.is_alive()

    async def _embed(self, prepared: Sequence[Prepared]) -> Vectors:
        jobs = [Job(one, self._loop.create_future()) for one in prepared]
        self._waiting += len(jobs)
        for job in jobs:
            self._jobs.put(job)
        return np.stack(await asyncio.gather(*(job.vector for job in jobs)))

    # -- in the decoding threads

    def _prepare_all(self, items: Sequence[ServerItem]) -> tuple[list[Prepared], int]:
        """Items one after another, as SGLang does, and the number of text tokens in all."""
        texts = [self._ids("padding" if item.text is None else item.text) for item in items]
        for item, ids in zip(items, texts):
            if item.tokens is not None:
                raise Refusal(BAD_REQUEST, "Token ids are not accepted by the reference server; send text.")
            if len(ids) >= self._loaded.context:
                raise too_long(len(ids), self._loaded.context)
        prepared = [Prepared(ids) if item.image is None else self._picture(item.image) for item, ids in zip(items, texts)]
        return prepared, sum(map(len, texts))

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._loaded.tokenizer.encode(text).ids)

    def _picture(self, reference: str) -> Prepared:
        pixels = self._loaded.processor(
            images=[decode_image(reference)], return_tensors="np", input_data_format="channels_last"
        )["pixel_values"][0]
        return Prepared(pixels=np.asarray(pixels, np.float32))

    # -- in the model's thread

    def _work(self) -> None:
        import torch

        torch.set_num_threads(self._threads)
        with torch.inference_mode():
            while jobs := self._next():
                self._loop.call_soon_threadsafe(self._taken, len(jobs))
                try:
                    vectors: Sequence[Vectors] | Refusal = infer(self._loaded, [job.prepared for job in jobs])
                except Exception as error:  # noqa: BLE001 - whatever torch raises is this batch's answer, not the server's end
                    vectors = Refusal(INTERNAL_ERROR, f"Internal server error: {error}", "InternalServerError")
                self._loop.call_soon_threadsafe(_settle, jobs, vectors)

    def _next(self) -> list[Job]:
        """Waits for a job and takes what else is there, up to the largest batch; nothing when it is time to stop."""
        jobs: list[Job] = []
        try:
            while len(jobs) < (self._options.max_batch or DEFAULT_BATCH):
                job = self._jobs.get(block=not jobs)
                if job is None:
                    return []
                jobs.append(job)
        except Empty:
            pass
        return jobs

    def _taken(self, count: int) -> None:
        self._waiting -= count


def infer(loaded: Loaded, items: Sequence[Prepared]) -> list[Vectors]:
    """Unit vectors, shape [dim] each, in the order of `items`: one pass for the texts and one for the images."""
    import torch

    found: list[Vectors] = [np.empty(0, np.float32)] * len(items)
    texts = [place for place, item in enumerate(items) if item.pixels is None]
    images = [place for place, item in enumerate(items) if item.pixels is not None]
    if texts:
        ids, mask = padded([items[place].ids for place in texts], loaded.eos)
        _place(found, texts, text_features(loaded.model, ids, mask))
    if images:
        pixels = torch.from_numpy(np.stack([pixels for item in items if (pixels := item.pixels) is not None]))
        _place(found, images, image_features(loaded.model, pixels))
    return found


def _place(found: list[Vectors], places: Sequence[int], features: Any) -> None:
    import torch

    for place, row in zip(places, torch.nn.functional.normalize(features.float(), dim=-1).numpy()):
        found[place] = row


def _settle(jobs: Sequence[Job], vectors: Sequence[Vectors] | Refusal) -> None:
    """In the loop's thread: hands each job its vector, unless its client has gone."""
    for place, job in enumerate(jobs):
        if job.vector.done():
            continue
        if isinstance(vectors, Refusal):
            job.vector.set_exception(vectors)
        else:
            job.vector.set_result(vectors[place])


def _cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
