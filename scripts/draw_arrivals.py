#!/usr/bin/env python3
"""Draws docs/arrivals.png: every arrival law from its real due instants, as a worker would get them.

    scripts/install dev && .venv/bin/python scripts/draw_arrivals.py [--out FILE.png]

Left: each arrival of two seconds as a line. Right: arrivals/s over the whole run, in steps of half a second. The trace is made
up here: 40 seconds in which the rate swells and ebbs twice, replayed twice as fast.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
from PIL import Image

from clipload.pacing import Offsets
from clipload.plan import Plan
from clipload.schedule import schedule
from clipload.units import Duration

SECONDS, CLOSE = 20, 2.0
SECONDS_AXIS = alt.Axis(labelExpr="datum.value + ' s'", tickCount=5)
FLAGS: dict[str, dict[str, Any]] = {
    "--rate 40 --arrival constant": {"rate": 40.0, "arrival": "constant"},
    "--rate 40": {"rate": 40.0},
    "--rate 40 --arrival gamma --cv 0.3": {"rate": 40.0, "arrival": "gamma", "cv": 0.3},
    "--rate 40 --arrival gamma --cv 3": {"rate": 40.0, "arrival": "gamma", "cv": 3.0},
    "--ramp 10:80": {"ramp": "10:80"},
    "--steps 20,40,80": {"steps": "20,40,80"},
    "--rate 20 --burst 100:1s/5s": {"rate": 20.0, "burst": "100:1s/5s"},
    "--trace arrivals.txt --speedup 2": {"trace": "arrivals.txt", "speedup": 2.0},
}


def write_trace(file: Path) -> None:
    """Arrival n at the instant by which the rate of 15 - 12 cos(2πt/20s) requests/s has brought n."""
    at = np.linspace(0, 2 * SECONDS, 100_001)
    brought = 15 * at - 12 * np.sin(2 * np.pi * at / SECONDS) * SECONDS / (2 * np.pi)
    due = np.interp(np.arange(int(brought[-1])), brought, at)
    file.write_text("".join(f"{instant:.6f}\n" for instant in due))


def due_seconds(plan: Plan) -> np.ndarray:
    """The arrivals of the whole run, in seconds."""
    pacer = schedule(plan).pacer
    if pacer is None:
        raise AssertionError("every row is an open loop")
    due: Offsets = np.concatenate(list(islice(pacer.blocks(plan.seed), 2)))
    return due[due < SECONDS * 10**9] / 1e9


def row(title: str, due: np.ndarray) -> alt.HConcatChart:
    """One law: its lines and its rate."""
    counts, edges = np.histogram(due, bins=2 * SECONDS, range=(0, SECONDS))
    close = alt.Data(values=[{"t": float(t)} for t in due[due < CLOSE]])
    rates = alt.Data(values=[{"t": float(t), "rate": 2 * int(n)} for t, n in zip(edges, [*counts, counts[-1]])])
    ticks = (
        alt.Chart(close, title=alt.Title(title, anchor="start", font="monospace", fontSize=12))
        .mark_tick(thickness=1, height=28)
        .encode(x=alt.X("t:Q", title=None, axis=SECONDS_AXIS, scale=alt.Scale(domain=[0, CLOSE])))
        .properties(width=420, height=30)
    )
    steps = (
        alt.Chart(rates)
        .mark_area(interpolate="step-after", opacity=0.6)
        .encode(
            x=alt.X("t:Q", title=None, axis=SECONDS_AXIS, scale=alt.Scale(domain=[0, SECONDS])),
            y=alt.Y("rate:Q", title="arrivals/s", scale=alt.Scale(domain=[0, 130])),
        )
        .properties(width=300, height=60)
    )
    return ticks | steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "arrivals.png")
    out: Path = parser.parse_args().out.absolute()
    plans = {flags: Plan(duration=Duration.seconds(SECONDS), **values) for flags, values in FLAGS.items()}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_trace(Path("arrivals.txt"))
        rows = [row(flags, due_seconds(plan)) for flags, plan in plans.items()]
    picture = BytesIO()
    alt.vconcat(*rows).properties(background="white").save(picture, format="png")
    with Image.open(picture) as drawn:  # a dozen colours are in it: a tenth of the bytes
        drawn.convert("RGB").quantize(32).save(out, optimize=True)


if __name__ == "__main__":
    main()
