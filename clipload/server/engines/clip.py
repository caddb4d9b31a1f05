"""A CLIP model behind the API: what arrives while the model works is served together in its next pass.

Vectors are unit length, texts' too (SGLang's text vectors point the same way but are not normalised). A text's vector does not
depend on the batch it met: texts are padded to the longest of their batch and masked.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipload.backends import Backend, BackendOptions, backend_for
from clipload.backends import Prepared as ForModel
from clipload.backends.checkpoints import RANDOM, Loaded
from clipload.dialects import ServerDialect, ServerItem, Times, Vectors
from clipload.server.engines import BAD_REQUEST, INTERNAL_ERROR, Answer, Load, Refusal, queue_full, too_long
from clipload.server.images import decode_image
from clipload.server.opening import Opened, Opener
from clipload.server.options import ServerOptions

DEFAULT_BATCH = 32
JOIN_S = 0.5
DECODERS = 4
DTYPES = {"fp32": "float32", "fp32+bf16": "float32", "bf16": "bfloat16", "fp16": "float16"}  # as SGLang spells them

log = logging.getLogger(__name__)

Pixels = NDArray[np.float32]


def make(options: ServerOptions) -> ClipEngine:
    return ClipEngine(options)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One item, ready for the model: token ids, or pixels of shape [3, side, side]."""

    ids: tuple[int, ...] = ()
    pixels: Pixels | None = None

    def for_model(self) -> ForModel:
        return ForModel(self.ids if self.pixels is None else self.pixels)


@dataclass(slots=True)
class Job:
    """An item in the model's queue, where its vector is awaited, and when the model took it (ns of CLOCK_MONOTONIC)."""

    prepared: Prepared
    vector: asyncio.Future[Vectors]
    taken_ns: int = 0


class ClipEngine:
    """One thread for the model, a few for parsing, decoding and printing; the loop only carries bytes."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._threads = options.threads or _cores()
        self._backend, self._loaded = _backend(options, self._threads)
        self.model = options.served_model_name or self._loaded.name
        self._pool = ThreadPoolExecutor(min(DECODERS, _cores()), "clipload-decode")
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._waiting = self._running = 0  # items accepted and not yet in the model, items in it

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._opener = Opener(allowed=bool(self._options.open_images))
        self._thread = threading.Thread(target=self._work, name="clipload-model", daemon=True)
        self._thread.start()
        side = self._loaded.side
        blank = Prepared(pixels=np.zeros((3, side, side), np.float32))
        await self._embed([blank, Prepared(ids=self._ids("warm up"))])  # the first pass of a model is the slowest

    async def answer(self, dialect: ServerDialect, body: bytes) -> Answer:
        received_s, received_ns = time.time(), time.monotonic_ns()
        limit = self._options.max_queue
        if limit is not None and self._waiting >= max(1, limit):
            raise queue_full()
        request = dialect.parse(body)
        opened = await self._opener.open_all(request.items)
        prepared, tokens = await self._loop.run_in_executor(self._pool, self._prepare_all, request.items, opened)
        queued_ns = time.monotonic_ns()
        vectors, taken_ns = await self._embed(prepared)
        reply = await self._loop.run_in_executor(self._pool, dialect.reply, request, vectors, tokens, self.model)
        total_ns = time.monotonic_ns() - received_ns
        return Answer(reply, tokens, Times(received_s, queued_ns - received_ns, taken_ns - queued_ns, total_ns))

    def load(self) -> Load:
        return Load(self._running, self._waiting)

    def facts(self) -> dict[str, object]:
        batch = self._options.max_batch or DEFAULT_BATCH
        of_backend = self._backend.facts()
        facts: dict[str, object] = {"max_batch": batch, "threads": self._threads, "backend": of_backend["backend"]}
        return facts | {"dtype": DTYPES[of_backend["dtype"]], "random_weights": self._options.model_dir is None}

    async def close(self) -> bool:
        await self._opener.close()
        self._jobs.put(None)
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._thread.join, JOIN_S)
        return not self._thread.is_alive()

    async def _embed(self, prepared: Sequence[Prepared]) -> tuple[Vectors, int]:
        """The vectors, and when the model took the last of the items."""
        if not prepared:
            return np.empty((0, 0), np.float32), time.monotonic_ns()
        jobs = [Job(one, self._loop.create_future()) for one in prepared]
        self._waiting += len(jobs)
        for job in jobs:
            self._jobs.put(job)
        vectors = np.stack(await asyncio.gather(*(job.vector for job in jobs)))
        return vectors, max(job.taken_ns for job in jobs)

    # -- in the decoding threads

    def _prepare_all(self, items: Sequence[ServerItem], opened: Opened) -> tuple[list[Prepared], tuple[int, ...]]:
        """Items one after another, as SGLang does, and the number of each one's text tokens."""
        texts = [self._ids("padding" if item.text is None else item.text) for item in items]
        for item, ids in zip(items, texts):
            if item.tokens is not None:
                raise Refusal(BAD_REQUEST, "Token ids are not accepted by the reference server; send text.")
            if len(ids) >= self._loaded.context:
                raise too_long(len(ids), self._loaded.context)
        prepared = [
            Prepared(ids) if item.image is None else self._picture(item.image, data)
            for item, ids, data in zip(items, texts, opened)
        ]
        return prepared, tuple(map(len, texts))

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._loaded.tokenizer.encode(text).ids)

    def _picture(self, reference: str, opened: bytes | None) -> Prepared:
        return Prepared(pixels=self._loaded.pixels.of(decode_image(reference, opened)))

    # -- in the model's thread

    def _work(self) -> None:
        import torch

        torch.set_num_threads(self._threads)  # a thread's own setting
        while jobs := self._next():
            now = time.monotonic_ns()
            for job in jobs:
                job.taken_ns = now
            self._loop.call_soon_threadsafe(self._taken, len(jobs))
            try:
                vectors: Vectors | Refusal = _unit(self._backend.encode([job.prepared.for_model() for job in jobs]))
            except Exception as error:  # noqa: BLE001 - whatever a backend raises is this batch's answer, not the server's end
                vectors = Refusal(INTERNAL_ERROR, f"Internal server error: {error}", "InternalServerError")
            self._loop.call_soon_threadsafe(self._settle, jobs, vectors)

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

    # -- in the loop's thread, told by the model's

    def _taken(self, count: int) -> None:
        self._waiting -= count
        self._running += count

    def _settle(self, jobs: Sequence[Job], vectors: Vectors | Refusal) -> None:
        """Hands each job its vector, unless its client has gone."""
        self._running -= len(jobs)
        for place, job in enumerate(jobs):
            if job.vector.done():
                continue
            if isinstance(vectors, Refusal):
                job.vector.set_exception(vectors)
            else:
                job.vector.set_result(vectors[place])


def _backend(options: ServerOptions, threads: int) -> tuple[Backend, Loaded]:
    """What computes, as `clipload embed` has it, and the model's tokenizer and image processor."""
    model = f"{RANDOM}{options.size or 'b32'}" if options.model_dir is None else str(options.model_dir)
    device, amp = options.device or "cpu", options.amp or "off"
    told = BackendOptions(
        model=model,
        device=device,
        amp=amp,
        threads=threads,
        seed=options.seed,
        cache=options.openvino_cache,
        say=_say,
    )
    backend: Any = backend_for(options.backend or "torch", told)
    return backend, backend.loaded


def _say(sentence: str) -> None:
    log.warning("clipload: %s", sentence)


def _unit(vectors: Vectors) -> Vectors:
    """Each row of unit length. A zero one stays zero: it spoils its own answer, not those of its batch."""
    rows: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return rows


def _cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
