"""What `clipload embed` shows: progress, summary and verification."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from clipload.dumps import Dump
from clipload.embedding import Embedding, Part
from clipload.reports import embedding as report
from clipload.retrieval import recall, sanity
from clipload.verification import Examined, Verification


def test_plain_progress_is_a_line_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(report.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    view = report.PlainProgress(stream)
    for done, at in ((10, 0.2), (20, 1.1), (30, 1.5), (40, 2.2), (50, 2.3)):
        now[0] = at
        view.advanced("text", done, 50, done / at)
    view.close()
    assert stream.getvalue().split() == [
        "texts", "20", "of", "50", "18.2/s", "texts", "40", "of", "50", "18.2/s", "texts", "50", "of", "50", "21.7/s",
    ]  # fmt: skip


def test_nobody_reads_along() -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    report.PlainProgress(Gone()).said("a sentence")


def test_live_progress_shows_both_kinds_and_the_rate() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    view = report.LiveProgress(console)
    view.said("[bold] backend")
    view.advanced("text", 5, 10, 12.5)
    view.advanced("image", 3, 10, 2.5)
    view.close()
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for word in ("[bold] backend", "texts", "images", "12.5/s", "2.5/s", "5/10"):
        assert word in shown


def test_summary() -> None:
    names = [f"{i}.jpg#0" for i in range(7)]
    text = Part("text", Path("d/t.pt"), 100, 512, 60, 2.0, 1.5, 32, [], names)
    image = Part("image", None, 20, 512, 0, 0.0, 0.0, 0, ["9.jpg: cannot be read: no"], [])
    assert report.summary(Embedding([text, image], {}, ["x.jpg (named on line 4): gone"])).splitlines() == [
        "  missing: 1",
        "    x.jpg (named on line 4): gone",
        "texts  60 in 2.00 s = 30.0/s (model 75 % of it, batches up to 32), 40 more from before",
        "  cut to the model's context: 7",
        *(f"    {name}" for name in names[:5]),
        "    … and 2 more",
        "  saved d/t.pt (100 × 512) and t.pt.json",
        "images  20 vectors of 512, all from before",
        "  images skipped: 1",
        "    9.jpg: cannot be read: no",
    ]


def test_verification() -> None:
    vectors = np.eye(4, dtype=np.float32)
    bad = vectors.copy()
    bad[1, 0], bad[3] = np.nan, 0
    examined = [
        Examined(kind, Dump(Path(f"{kind}.npy"), rows, None), sanity(rows))
        for kind, rows in (("text", vectors), ("image", bad))
    ]
    text = report.verification_text(Verification(examined, None, "for a reason", ["a note"]))
    assert text.splitlines() == [
        "text    text.npy: 4 × 4, norms 1.0000 to 1.0000 (mean 1.0000, unit length)",
        "image   image.npy: 4 × 4, norms 0.0000 to 1.0000 (mean 0.6667, not normalised)",
        "  not finite: 1",
        "    row 1",
        "  zero: 1",
        "    row 3",
        "note    a note",
        "recall  none: for a reason",
    ]
    ranked = Verification(examined[:1], recall(vectors, vectors, np.arange(4)), "", [])
    assert report.verification_text(ranked).splitlines()[1:] == [
        "recall                    @1      @5     @10",
        "  image by caption (4)        1.0000  1.0000  1.0000",
        "  caption by image (4)        1.0000  1.0000  1.0000",
    ]
