"""What would be said of a target by who does not look at it: examples of docs/how-the-numbers-are-made.md, computed."""

from __future__ import annotations

import base64

from clipload.agreement import not_right, proportion
from clipload.estimate import share
from tests.bad_answers import Lines


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


def images_as_files() -> Lines:
    """A link of 1 Gbit/s; heads and JSON left out."""
    link, size = 1e9, 100_000
    text = len(base64.b64encode(bytes(size)))
    said = f"{link / 8 / size:.0f}/s by their files, {link / 8 / text:.0f}/s as they travel"
    yield f"images of {size // 1000} kB over 1 Gbit/s: {said}"
