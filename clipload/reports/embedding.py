"""What `clipload embed` shows: progress while it works, a summary, a verification; and the same as JSON."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from clipload.embedding import Embedding, Part, View
from clipload.verification import Examined, Verification

_EVERY_S = 1.0
_SHOWN = 5  # names of each list that a reader sees; the side-car has them all


class Shown(View, Protocol):
    """A View that holds a terminal."""

    def close(self) -> None: ...


class PlainProgress:
    """At most one line a second, for logs and pipes, and one at the end of each kind."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._next_s = time.monotonic() + _EVERY_S

    def said(self, sentence: str) -> None:
        with contextlib.suppress(OSError):  # whoever read along has gone: no reason to end the work
            print(sentence, file=self._stream, flush=True)

    def advanced(self, kind: str, done: int, total: int, per_s: float) -> None:
        if done == total or time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _EVERY_S
            self.said(f"{kind}s  {done:>7} of {total}  {per_s:>8.1f}/s")

    def close(self) -> None:
        """Nothing is held open."""


class LiveProgress:
    """A bar for each kind, gone at the end."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[per_s]:.1f}/s"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}

    def said(self, sentence: str) -> None:
        self._progress.console.print(sentence, highlight=False, markup=False)

    def advanced(self, kind: str, done: int, total: int, per_s: float) -> None:
        if kind not in self._bars:
            self._progress.start()
            self._bars[kind] = self._progress.add_task(f"{kind}s", total=total, per_s=per_s)
        self._progress.update(self._bars[kind], completed=done, per_s=per_s)

    def close(self) -> None:
        self._progress.stop()


@contextlib.contextmanager
def progress() -> Iterator[Shown]:
    """Bars on a terminal, plain lines elsewhere."""
    console = Console(stderr=True)
    view: Shown = LiveProgress(console) if console.is_terminal and not console.is_dumb_terminal else PlainProgress()
    try:
        yield view
    finally:
        view.close()


def summary(embedding: Embedding) -> str:
    lines = []
    if embedding.missing:
        lines += listed("missing", embedding.missing)
    for part in embedding.parts:
        lines.append(_speed(part))
        lines += listed(f"{part.kind}s skipped", part.skipped)
        lines += listed("cut to the model's context", part.truncated)
        if part.path is not None:
            lines.append(f"  saved {part.path} ({part.count} × {part.dim}) and {part.path.name}.json")
    return "\n".join(lines)


def _speed(part: Part) -> str:
    if not part.embedded:
        return f"{part.kind}s  {part.count} vectors of {part.dim}, all from before"
    before = f", {part.count - part.embedded} more from before" if part.count > part.embedded else ""
    share = part.model_s / part.seconds if part.seconds else 1.0
    return (
        f"{part.kind}s  {part.embedded} in {part.seconds:.2f} s = {part.per_s:.1f}/s (model {100 * share:.0f} % of it, "
        f"batches up to {part.batch_size}){before}"
    )


def listed(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = [f"    … and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [f"  {title}: {len(names)}", *(f"    {name}" for name in names[:_SHOWN]), *more]


def verification_text(found: Verification) -> str:
    lines = [line for one in found.examined for line in _sanity(one)]
    lines += [f"note    {note}" for note in found.notes]
    if found.recall is None:
        return "\n".join([*lines, f"recall  none: {found.why_not}"])
    ranked = found.recall
    ks = list(ranked.image_retrieval)
    lines.append("recall              " + "".join(f"{f'@{k}':>8}" for k in ks))
    for title, shares in (
        (f"image by caption ({ranked.texts})", ranked.image_retrieval),
        (f"caption by image ({ranked.images})", ranked.text_retrieval),
    ):
        lines.append(f"  {title:<26}" + "".join(f"{shares[k]:>8.4f}" for k in ks))
    return "\n".join(lines)


def _sanity(one: Examined) -> list[str]:
    sane = one.sanity
    length = "unit length" if sane.unit else "not normalised"
    shape = f"{one.kind:<6}  {one.dump.path}: {sane.count} × {sane.dim}"
    lines = [f"{shape}, norms {sane.norm_min:.4f} to {sane.norm_max:.4f} (mean {sane.norm_mean:.4f}, {length})"]
    for title, rows in (("not finite", sane.not_finite), ("zero", sane.zero)):
        lines += listed(title, [one.name(int(row)) for row in rows])
    same = [" = ".join(one.name(row) for row in group[:_SHOWN]) for group in sane.groups]
    return lines + listed(f"vectors that occur more than once, in {sum(map(len, sane.groups))} rows", same)


def document(embedding: Embedding | None, found: Verification | None) -> dict[str, Any]:
    """`--json`."""
    whole: dict[str, Any] = {}
    if embedding is not None:
        whole["backend"] = embedding.facts
        whole["missing"] = embedding.missing
        whole["parts"] = {part.kind: _part_document(part) for part in embedding.parts}
    if found is not None:
        whole["verification"] = verification_document(found)
    return whole


def _part_document(part: Part) -> dict[str, Any]:
    numbers = {name: getattr(part, name) for name in ("count", "dim", "embedded", "seconds", "model_s", "per_s", "batch_size")}
    return {"path": str(part.path) if part.path else None, **numbers, "skipped": part.skipped, "truncated": part.truncated}


def verification_document(found: Verification) -> dict[str, Any]:
    sane = {
        one.kind: {
            "path": str(one.dump.path),
            "count": one.sanity.count,
            "dim": one.sanity.dim,
            "not_finite": [one.name(int(row)) for row in one.sanity.not_finite],
            "zero": [one.name(int(row)) for row in one.sanity.zero],
            "norms": {key: _number(getattr(one.sanity, f"norm_{key}")) for key in ("min", "mean", "max")},
            "duplicates": [[one.name(row) for row in group] for group in one.sanity.groups],
        }
        for one in found.examined
    }
    ranked = found.recall
    recall = ranked and {
        "image_retrieval": {str(k): share for k, share in ranked.image_retrieval.items()},
        "text_retrieval": {str(k): share for k, share in ranked.text_retrieval.items()},
        "texts": ranked.texts,
        "images": ranked.images,
    }
    return {**sane, "recall": recall, "why_not": found.why_not, "notes": found.notes, "exit_code": found.exit_code}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no NaN
