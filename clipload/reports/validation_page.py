"""The page of a validation with another side: the verdict, the worst pairs, the map of the vectors, retrieval."""

from __future__ import annotations

import time

import numpy as np

from clipload.reports.answers import Head, Remark
from clipload.reports.page import page
from clipload.reports.pairs import worst_pairs
from clipload.reports.plots import Plot
from clipload.reports.plots.vector_map import map_chart, map_sentence
from clipload.reports.tables import Table
from clipload.retrieval import Recall
from clipload.validation import Parity, Rejected, Validation
from clipload.validation.mapping import vector_map

_TITLE = "Are the vectors right?"
_NOTE = "1 − cosine is of an Item's two vectors: 0 where they point the same way. The worst of several answers counts."
_AGAIN = "The same command asks the server again."


def validation_page(found: Validation, worst: int, seed: int, at_s: float) -> str:
    """`worst`: how many pairs; `seed`: of the Items on the map; `at_s`: when it was asked, in seconds since 1970."""
    lines = [f"Server {found.server}."]
    remarks = [Remark("note", note) for note in found.notes]
    remarks += [Remark("dataset", f"{title}: {len(of)}") for title, of in found.oddities.titled if of]
    remarks += [Remark("dataset", f"passed over: {len(found.skipped)}")] if found.skipped else []
    recall = found.recall.recall if found.recall is not None else None
    tables = [_recall(recall)] if recall is not None else []
    plots, pairs = [], None
    if found.parity is not None:
        lines += _setting(found.parity)
        remarks += [Remark("note", note) for note in found.parity.notes]
        pairs = worst_pairs(found.parity, worst)
        drawn = vector_map(found.parity.pairs, seed, found.parity.worst(len(pairs.shown)))
        sentence = map_sentence(found.parity, drawn, seed)
        plots = [Plot("map", "Map of the vectors", sentence, map_chart(found.parity, drawn))]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_s))
    tone, verdict, figures = _verdict(found)
    head = Head(_TITLE, tone, verdict, (*lines, f"{when}."), figures, remarks, _NOTE)
    undrawn = "a vector that is zero or not finite has no direction"
    return page(head, plots, tables, [f"a validation of {found.server}"], pairs=pairs, undrawn=undrawn, again=_AGAIN)


def _setting(parity: Parity) -> list[str]:
    lines = [f"Held against {parity.against}."]
    if chosen := parity.facts.get("chosen"):
        lines.append(f"--backend {chosen['asked']} took it: {chosen['why']}.")
    times = f", each asked {parity.repeat} times" if parity.repeat > 1 else ""
    return [*lines, f"{len(parity.names)} Items{times}; {' and '.join(parity.dtypes)}."]


def _verdict(found: Validation) -> tuple[str, str, tuple[tuple[str, str, str], ...]]:
    """Tone, sentence, figures."""
    if found.rejected is not None:
        return "failed", _rejected(found.rejected), ()
    if found.parity is None:
        raise AssertionError("a page is of a validation with another side")
    parity, distance = found.parity, found.parity.compared.distance
    beyond, strays = int((distance > parity.limit).sum()), int(parity.compared.strays().sum())
    figures = (
        ("largest 1 − cosine", f"{distance.max():.2e}", f"allowed: {parity.limit:g}"),
        ("median", f"{np.median(distance):.2e}", ""),
        ("beyond the limit", f"{beyond}", f"of {len(distance)} Items"),
        ("nearer to another's", f"{strays}", "swapped, if there are several" if strays else "none was swapped"),
    )
    if parity.failed:
        said = f"Failed: {len(parity.failed)} of {len(distance)} Items have another vector on the other side."
        return "failed", said, figures
    return "sound", f"Passed: all {len(distance)} Items have the same vector on both sides, within the limit.", figures


def _rejected(rejected: Rejected) -> str:
    names = rejected.names
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"Failed: vectors of {rejected.whose} are zero or not finite: {', '.join(names[:5])}{more}. Nothing was compared."


def _recall(recall: Recall) -> Table:
    ks = list(recall.image_retrieval)
    rows = tuple(
        (title, *(f"{shares[k]:.4f}" for k in ks), f"{count}")
        for title, shares, count in (
            ("image by caption", recall.image_retrieval, recall.texts),
            ("caption by image", recall.text_retrieval, recall.images),
        )
    )
    sentence = "Share of those whose counterpart is among the first K; ties count against it."
    return Table("recall", "Retrieval", sentence, ("", *(f"Recall@{k}" for k in ks), "of"), rows)
