"""Preparation: Plan -> Samples -> Arena, before there is a load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from clipload.arena import Arena, Bodies, item_key
from clipload.dialects import dialect_of
from clipload.errors import DatasetError
from clipload.gallery import Gallery
from clipload.mixes import parse_lengths, parse_sizes
from clipload.pacing import BODIES, Shuffle
from clipload.plan import SIDES, Plan
from clipload.scales import Scales
from clipload.sources import Skip, Source, source_for
from clipload.values import Sample

Progress = Callable[[int, int], None]
"""Is told how many Samples are encoded, and of how many."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is known before a load begins."""

    plan: Plan
    arena: Arena
    skipped: list[Skip]
    gallery: Gallery
    weight: dict[str, int]  # of its first images


def prepare(plan: Plan, gallery: Gallery, progress: Progress, requests: int = 0) -> Prepared:
    """Draws the Samples and fills the Arena. The Plan comes back with the pool as resolved: it never depends on the host.

    `requests`: how many the whole load will send; only a unique one needs to know.
    """
    source = source_for(plan.data_source, **source_options(plan))
    skipped: list[Skip] = []
    if plan.unique:
        wanted = plan.batch_size * (requests + 1)  # the probe's body is no other's either
        drawn: Iterable[Sample] = islice(_fresh(source.draw(source.available or wanted), skipped), wanted)
        _check_unique(plan, source, requests, source.available)
    else:
        wanted = plan.pool if source.available is None else min(plan.pool, source.available)
        drawn = source.draw(wanted)
    if not wanted:
        raise DatasetError("holds no Sample", flag="--data-source", remedy="check the folder and the captions file")
    dialect, scales = dialect_of(plan), Scales()
    samples = gallery.hang(scales.weighed(_readable(plan, source, drawn)))
    arena = Arena.build(samples, dialect, plan.arena_limit, lambda done: progress(done, wanted))
    if plan.unique:
        try:
            _check_unique(plan, source, requests, arena.map.pool)
        except DatasetError:
            arena.close()
            raise
    return Prepared(plan.replace(pool=arena.map.pool), arena, [*source.skipped, *skipped], gallery, scales.document())


def source_options(plan: Plan) -> dict[str, Any]:
    """What of a Plan a Source may depend on: the fields of `SourceOptions`."""
    return {
        "mode": plan.mode,
        "seed": plan.seed,
        "text_share": 0.5 if plan.text_share is None else plan.text_share,
        "text_lengths": None if plan.text_tokens is None else parse_lengths(plan.text_tokens),
        "image_side": SIDES[plan.clip_variant],
        "image_sizes": None if plan.image_size is None else parse_sizes(plan.image_size),
        "image_format": plan.image_format,
        "image_quality": plan.image_quality,
        "image_kind": plan.image_kind,
        "bytes_per_pixel": plan.bytes_per_pixel,
        "data": plan.data,
        "most_bytes": int(plan.arena_limit),
        "flickr_images_dir": plan.flickr_images_dir,
        "flickr_captions_file": plan.flickr_captions_file,
        "flickr_caption_pick": plan.flickr_caption_pick,
        "strict": plan.strict,
        "threads": plan.image_threads,
    }


def payload(prepared: Prepared) -> bytes:
    """The body that is sent last in a first round, whole: for the probe. A unique load ends before it."""
    plan = prepared.plan
    dialect = dialect_of(plan)
    bodies = Bodies(prepared.arena.map, plan.batch_size, dialect.frame(), b"")
    return bodies.payload(Shuffle(bodies.count, plan.seed, BODIES)(bodies.count - 1))


def _readable(plan: Plan, source: Source, samples: Iterable[Sample]) -> Iterator[Sample]:
    """The same Samples. DatasetError, with what was wrong with the first, when every one was passed over."""
    empty = True
    for sample in samples:
        empty = False
        yield sample
    if empty and source.skipped:
        what = f"holds nothing that can be sent; passed over {len(source.skipped)}, the first: {source.skipped[0]}"
        flag = "--flickr-images-dir" if plan.data_source == "flickr8k" else "--data"
        raise DatasetError(what, flag=flag, remedy="mend it, or name other data")


def _fresh(samples: Iterable[Sample], skipped: list[Skip]) -> Iterator[Sample]:
    """The Samples none of whose Items was in one before; the others go to `skipped`."""
    seen: set[tuple[str, str | bytes]] = set()
    for number, sample in enumerate(samples):
        keys = {item_key(item) for item in sample.items}
        if keys & seen:
            skipped.append(Skip(f"Sample {number}", 0, "its text or image was in one before (--unique)"))
        else:
            seen |= keys
            yield sample


def _check_unique(plan: Plan, source: Source, requests: int, there: int | None) -> None:
    """DatasetError when there are fewer Samples than a unique load and its probe will send."""
    wanted = plan.batch_size * (requests + 1)
    if there is not None and there < wanted:
        counts = f"{requests} requests and the probe take {wanted} different Samples"
        remedy = "shorten the load, or name a larger dataset"
        if plan.data_source == "random":
            remedy = "shorten the load, or ask for longer texts (--text-tokens) or larger images"
        raise DatasetError(f"{counts}; {source!r} has {there}", flag="--unique", remedy=remedy)
