"""Live views of a run: a rich display on a terminal, one plain line a second elsewhere."""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clipload.estimate import Estimate, quantile_of
from clipload.folding import Folding
from clipload.frames import Interval
from clipload.plan import Plan
from clipload.reports.percentiles import LEVEL_SAID, narrow_said, time_said
from clipload.tally import Tally

_FRAMES_PER_S = 4
ALONE = f"its {LEVEL_SAID} interval from that second alone, as if its requests were independent"


class Seconds:
    """Gathers the workers' intervals; gives each second out once all have reported it (the death of one ends the run)."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._seen: dict[int, int] = {}
        self._given = -1

    def whole(self, interval: Interval) -> int | None:
        """The number of the second that this interval completes, if it does."""
        self._seen[interval.index] = self._seen.get(interval.index, 0) + 1
        if interval.final or interval.index <= self._given or self._seen[interval.index] < self._workers:
            return None
        self._given = interval.index
        return interval.index


class Line:
    """What a second looks like, in words and numbers."""

    def __init__(self, folding: Folding, index: int) -> None:
        second = folding.seconds[index]
        self.tally: Tally = second.tally
        self.index, self.in_flight, self.waiting = index, second.in_flight, second.waiting
        self.compared, self.wrong = folding.checked.sampled, folding.checked.wrong  # replies, so far

    def quantile(self, name: str, q: float) -> Estimate | None:
        """Its interval is that of this second alone (`estimate.quantile_of`)."""
        histogram = self.tally.histogram(name)
        return quantile_of(histogram, q) if histogram.total else None

    @property
    def not_ok(self) -> int:
        return sum(self.tally.errors.values()) + self.tally["timeout"]

    def __str__(self) -> str:
        rates = f"{self.index + 1:>5} s  {self.tally['ok']:>7} ok/s  {self.not_ok:>5} not ok"
        levels = f"{self.in_flight:>5} in flight  {self.waiting:>5} waiting"
        times = "  ".join(f"{label} {_beside(self.quantile(*of))}" for label, of in _TIMES.items())
        vectors = f"  {self.compared:>5} compared so far  {self.wrong:>5} {_WRONG}" if self.compared else ""
        return f"{rates}  {levels}  {times}{vectors}"


_WRONG = "wrong so far"
_TIMES = {"p50": ("latency", 0.5), "p99": ("latency", 0.99), "lag p99": ("lag", 0.99)}


def _beside(found: Estimate | None) -> str:
    """A percentile, its interval in brackets."""
    value, interval = _cells(found)
    return f"{value:>8}" + (f" ({interval})" if interval else "")


def _cells(found: Estimate | None) -> tuple[str, str]:
    return ("-", "") if found is None else (time_said(found.value), narrow_said(found))


class PlainView:
    """One line a second, for logs and pipes; before the first it is said what stands in brackets."""

    def __init__(self, plan: Plan, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._seconds = Seconds(plan.workers)
        self._labelled = False

    def said(self, sentence: str) -> None:
        with contextlib.suppress(OSError):  # whoever read along has gone: no reason to end a measurement
            print(sentence, file=self._stream, flush=True)

    def preparing(self, done: int, total: int) -> None:
        if done == total:
            self.said(f"encoded {total} Sample{'' if total == 1 else 's'}")

    def interval(self, folding: Folding, interval: Interval) -> None:
        index = self._seconds.whole(interval)
        if index is None:
            return
        if not self._labelled:
            self.said(f"in brackets behind a percentile: {ALONE}")
            self._labelled = True
        self.said(str(Line(folding, index)))

    def close(self) -> None:
        """Nothing is held open."""


class LiveView:
    """A progress bar and a small table, redrawn a few times a second, gone when the run is over."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan, self._console = plan, console
        self._seconds = Seconds(plan.workers)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn()
        )
        self._bar = self._progress.add_task("encoding Samples", total=plan.pool)
        self._live = Live(self._progress, console=console, refresh_per_second=_FRAMES_PER_S, transient=True)
        self._running = False

    def said(self, sentence: str) -> None:
        self._console.print(sentence, highlight=False, markup=False)

    def _show(self) -> None:
        if not self._running:
            self._live.start()
            self._running = True

    def preparing(self, done: int, total: int) -> None:
        self._show()
        what = "encoding Samples" if done < total else "starting workers"
        self._progress.update(self._bar, description=what, completed=done, total=total)

    def interval(self, folding: Folding, interval: Interval) -> None:
        index = self._seconds.whole(interval)
        if index is None:
            return
        self._show()
        line = Line(folding, index)
        done, total, what = self._course(folding, index)
        self._progress.update(self._bar, description=what, completed=done, total=total)
        self._live.update(_stack(self._progress, _table(line)))

    def _course(self, folding: Folding, index: int) -> tuple[float, float, str]:
        """How far the run is: by requests when they are counted, else by time."""
        plan, bounds = self._plan, folding.run.bounds
        elapsed = (index + 1) * 1e9
        what = "warm-up" if elapsed <= bounds[1] else "measuring" if elapsed <= bounds[2] else "draining"
        if plan.requests is not None and not plan.open_loop:
            ended = sum(account.phases["measure"].ledger().attempted for account in folding.run.workers.values())
            return ended, plan.requests, what
        return min(elapsed, bounds[3]), bounds[3], what

    def close(self) -> None:
        if self._running:
            self._live.stop()
            self._running = False


def _table(line: Line) -> Table:
    """Below each percentile its interval; what rests on too little is pale."""
    table = Table(box=None, pad_edge=False, header_style="dim", caption=f"below: {ALONE}", caption_justify="left")
    counts = {
        "ok/s": str(line.tally["ok"]),
        "not ok/s": f"[red]{line.not_ok}[/]" if line.not_ok else "0",
        "in flight": str(line.in_flight),
        "waiting": str(line.waiting),
    }
    wrong = {_WRONG: f"{'[red]' if line.wrong else '[default]'}{line.wrong}[/] of {line.compared}"} if line.compared else {}
    for name in (*counts, *_TIMES, *wrong):
        table.add_column(name, justify="right", min_width=9)
    found = [line.quantile(*of) for of in _TIMES.values()]
    cells = [_cells(one) for one in found]
    values = [f"[dim]{value}[/]" if one and not one.sufficient else value for one, (value, _) in zip(found, cells)]
    table.add_row(*counts.values(), *values, *wrong.values())
    table.add_row(*[""] * len(counts), *(interval for _, interval in cells), style="dim")
    return table


def _stack(progress: Progress, table: Table) -> Table:
    grid = Table.grid()
    grid.add_row(progress)
    grid.add_row(table)
    return grid


def view_for(plan: Plan) -> PlainView | LiveView:
    """The live view on a terminal, plain lines elsewhere."""
    console = Console(stderr=True)
    return LiveView(plan, console) if console.is_terminal and not console.is_dumb_terminal else PlainView(plan)
