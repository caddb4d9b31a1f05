"""What would be said of a target by who does not look at it: examples of docs/how-the-numbers-are-made.md, computed."""

from __future__ import annotations

import base64

import numpy as np

from clipload.agreement import not_right, proportion
from clipload.estimate import share
from tests.bad_answers import Lines, p


def wrong_and_quick() -> Lines:
    """A server that answers everything, with vectors of which three in ten are another text's."""
    answered, wrong = share([0] * 10, [100] * 10), proportion(24, 80)
    both = not_right(answered, wrong)
    said = f"errors by status {answered.said}; by vectors {both.said} ({both.span})"
    yield f"1000 replies, all of them 200 and quick, 24 of 80 sampled ones wrong: {said}"


def one_full_core() -> Lines:
    """Three processes that do little beside a tokenizer that can do no more."""
    cores, shares = 64, {"tokenizer": 1.0, "scheduler": 0.2, "detokenizer": 0.1}
    host = sum(shares.values()) / cores
    said = f"the host is busy for {host:.1%}, that process for {shares['tokenizer']:.0%}"
    yield f"a server on {cores} cores whose tokenizer has a core of its own and needs all of it: {said}"


def texts_among_images() -> Lines:
    """What a stream of its own shows, and the percentiles of a mixture do not: an index that waits for texts."""
    images, before, after = np.full(980, 0.2), np.full(20, 0.02), np.full(20, 0.19)
    (low, p50), (high, same) = ((p(texts, 0.5), p(np.append(images, texts), 0.5)) for texts in (before, after))
    said = f"those of the texts alone from {1000 * low:.0f} to {1000 * high:.0f} ms"
    mixed = f"the p50 of all goes from {1000 * p50:.0f} to {1000 * same:.0f} ms"
    yield f"20 texts among 980 images, and what a text takes grows tenfold: {mixed}, {said}"


def images_as_files() -> Lines:
    """A link of 1 Gbit/s; heads and JSON left out."""
    link, size = 1e9, 100_000
    text = len(base64.b64encode(bytes(size)))
    said = f"{link / 8 / size:.0f}/s by their files, {link / 8 / text:.0f}/s as they travel"
    yield f"images of {size // 1000} kB over 1 Gbit/s: {said}"
