"""The map of a validation's vectors: texts and images of both sides on their first two principal components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from clipload.reports.pairs import shortened
from clipload.reports.plots.palette import BLUE, GREY, ORANGE, WIDTH, Panel, clickable, coloured, kept, values
from clipload.validation import Parity
from clipload.validation.mapping import Gap, VectorMap

_HEIGHT = 420
_STYLES = {"text": (BLUE, "circle"), "image": (ORANGE, "square")}
_NAME = 60
Rows = list[dict[str, Any]]


def map_chart(parity: Parity, found: VectorMap) -> Panel:
    """Filled: the server's. Hollow and joined to it: the other side's, where the two can be told apart."""
    kinds = [kind for kind in _STYLES if kind in {parity.kinds[row] for row in found.rows}]
    chosen = clickable("kind", "map")
    servers, others = _rows(parity, found)
    layers = [_points(servers, kinds, found, chosen, filled=True)]
    if others:  # a layer without data would make the browser complain
        lines: Panel = alt.Chart(values(others)).mark_rule(color=GREY, strokeWidth=1.5)
        joints = lines.encode(x=_axis("x", found), y=_axis("y", found), x2="x2:Q", y2="y2:Q", opacity=kept(chosen, 0.8))
        layers += [joints, _points(others, kinds, found, chosen, filled=False)]
    layers[0] = layers[0].add_params(chosen)  # the legend is that of the first layer, and answers if that knows of clicks
    whole: Panel = alt.layer(*layers)
    return whole.properties(width=WIDTH, height=_HEIGHT)


def _points(rows: Rows, kinds: Sequence[str], found: VectorMap, chosen: alt.Parameter, *, filled: bool) -> Panel:
    colours, shapes = zip(*(_STYLES[kind] for kind in kinds))
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=list(kinds), range=list(shapes)), sort=list(kinds))
    told = [alt.Tooltip(f"{name}:N", title=name) for name in ("name", "kind", "side", "distance")]
    marked: Panel = alt.Chart(values(rows)).mark_point(filled=filled, size=44, strokeWidth=1.5)
    return marked.encode(
        x=_axis("x", found),
        y=_axis("y", found),
        color=coloured("kind", kinds, colours),
        shape=shape,
        opacity=kept(chosen, 0.75),
        tooltip=told,
    )


def _axis(field: str, found: VectorMap) -> Any:
    place = "xy".index(field)
    title = f"{('first', 'second')[place]} component ({100 * found.shares[place]:.3g} % of the variance)"
    channel = (alt.X, alt.Y)[place]
    return channel(f"{field}:Q", title=title, scale=alt.Scale(zero=False))


def _rows(parity: Parity, found: VectorMap) -> tuple[Rows, Rows]:
    """The server's points, and those of the other side that are told apart from them, with both ends of what joins them."""
    servers: Rows = []
    others: Rows = []
    ends = zip(found.rows.tolist(), found.found.tolist(), found.reference.tolist(), found.apart.tolist())
    for row, (x, y), (there_x, there_y), apart in ends:
        named = {"name": shortened(parity.names[row], _NAME), "kind": parity.kinds[row]}
        named["distance"] = f"1 − cosine {parity.compared.distance[row]:.2e}"
        servers.append(named | {"side": "the server's" if apart else "both sides", "x": _short(x), "y": _short(y)})
        if apart:
            ends_at = {"x": _short(there_x), "y": _short(there_y), "x2": _short(x), "y2": _short(y)}
            others.append(named | {"side": "the other side's"} | ends_at)
    return servers, others


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def map_sentence(parity: Parity, found: VectorMap, seed: int) -> str:
    shown, count = len(found.rows), len(parity.names)
    which = f"All {count} Items" if shown == count else f"{shown} of {count} Items, drawn with seed {seed} beside the worst,"
    first, second = (100 * found.shares).tolist()
    apart = int(np.count_nonzero(found.apart))
    joined = (
        f"Filled: the server's. Hollow, joined to them: the other side's, of the {apart} Items where the two can be told apart."
        if apart
        else "The other side's vectors fall upon the server's: one point stands for both."
    )
    return (
        f"{which} as directions, on the two along which the vectors of both sides differ most: they hold {first:.3g} % and "
        f"{second:.3g} % of the variance, the other {max(0.0, 100 - first - second):.3g} % is not seen. "
        f"{joined}{_gap_said(found.gap)}"
    )


def _gap_said(gap: Gap | None) -> str:
    if gap is None:
        return ""
    across, texts, images = (f"{cosine:.3f}".replace("-", "−") for cosine in (gap.across, gap.texts, gap.images))
    means = f"a text and an image have cosine {across} on average, two texts {texts}, two images {images}"
    if gap.lies_apart:
        return f" Texts and images lie apart, which is CLIP's modality gap: {means}."
    return f" Texts and images do not lie apart, as those of a trained CLIP do (the modality gap): {means}."
