#!/usr/bin/env python3
"""Draws docs/arrivals.png: every arrival law from its real due instants, as a worker would get them.

    scripts/install dev && .venv/bin/python scripts/draw_arrivals.py [--out FILE.png]

Left: each arrival of two seconds as a line. Right: arrivals/s over the whole run, in steps of half a second.
"""

from __future__ import annotations

import argparse
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
from PIL import Image

from clipload.pacing import Offsets, Pacer
from clipload.plan import Plan
from clipload.units import Duration

SECONDS, CLOSE = 20, 2.0
FLAGS: dict[str, dict[str, Any]] = {
    "--rate 40 --arrival constant": {"rate": 40.0, "arrival": "constant"},
    "--rate 40": {"rate": 40.0},
    "--rate 40 --arrival gamma --cv 0.3": {"rate": 40.0, "arrival": "gamma", "cv": 0.3},
    "--rate 40 --arrival gamma --cv 3": {"rate": 40.0, "arrival": "gamma", "cv": 3.0},
    "--ramp 10:80": {"ramp": "10:80"},
    "--steps 20,40,80": {"steps": "20,40,80"},
    "--rate 20 --burst 100:1s/5s": {"rate": 20.0, "burst": "100:1s/5s"},
}


def due_seconds(pacer: Pacer, seed: int) -> np.ndarray:
    """The arrivals of the whole run, in seconds."""
    due: Offsets = np.concatenate(list(islice(pacer.blocks(seed), 2)))
    return due[due < SECONDS * 10**9] / 1e9


def row(title: str, due: np.ndarray) -> alt.HConcatChart:
    """One law: its lines and its rate."""
    counts, edges = np.histogram(due, bins=2 * SECONDS, range=(0, SECONDS))
    close = alt.Data(values=[{"t": float(t)} for t in due[due < CLOSE]])
    rates = alt.Data(values=[{"t": float(t), "rate": 2 * int(n)} for t, n in zip(edges, [*counts, counts[-1]])])
    ticks = (
        alt.Chart(close, title=alt.Title(title, anchor="start", font="monospace", fontSize=12))
        .mark_tick(thickness=1, height=28)
        .encode(x=alt.X("t:Q", title=None, scale=alt.Scale(domain=[0, CLOSE])))
        .properties(width=420, height=30)
    )
    steps = (
        alt.Chart(rates)
        .mark_area(interpolate="step-after", opacity=0.6)
        .encode(
            x=alt.X("t:Q", title=None, scale=alt.Scale(domain=[0, SECONDS])),
            y=alt.Y("rate:Q", title="arrivals/s", scale=alt.Scale(domain=[0, 130])),
        )
        .properties(width=300, height=60)
    )
    return ticks | steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "arrivals.png")
    out: Path = parser.parse_args().out
    plans = {flags: Plan(duration=Duration.seconds(SECONDS), **values) for flags, values in FLAGS.items()}
    rows = [row(flags, due_seconds(plan.pacer, plan.seed)) for flags, plan in plans.items()]
    picture = BytesIO()
    alt.vconcat(*rows).properties(background="white").save(picture, format="png")
    with Image.open(picture) as drawn:  # a dozen colours are in it: a tenth of the bytes
        drawn.convert("RGB").quantize(32).save(out, optimize=True)


if __name__ == "__main__":
    main()
