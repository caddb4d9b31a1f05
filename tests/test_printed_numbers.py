"""Every number that is printed has a label, and the page says of every label how its number is made, and which test proves it.

The labels are read off the texts themselves, as a reader would: the first cell of a line that holds a number, a cell before a
value, the heads of columns, the words in a ledger and in a second's line. The page's are those in the first column of its
tables `printed`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.probing import Probing
from benchmarks.queues import MM1
from clipload.agreement import Checked, Level
from clipload.campaign import Campaign
from clipload.compare import compare
from clipload.folding import Folding
from clipload.health import RULES
from clipload.outcomes import fate
from clipload.reports.campaigns import answer_text, sweep_table
from clipload.reports.canary import canary_lines
from clipload.reports.capacity import calibration_table
from clipload.reports.comparison import comparison_text
from clipload.reports.integrity import integrity_lines
from clipload.reports.limits import describe_limit
from clipload.reports.live import Line
from clipload.reports.payload import describe_payload
from clipload.reports.text import summary
from clipload.search import Aim, Over
from clipload.shapes import Kept
from clipload.sightings import ITEMS
from clipload.tally import ERROR
from clipload.verdict import judge
from tests.laws.test_shape_laws import shape
from tests.reports.saved import run
from tests.reports.test_integrity_report import LEAK, run_with
from tests.reports.test_limits_text import TOLD, full, watched
from tests.test_campaign import campaign, launcher
from tests.test_canary import parts
from tests.test_canary import run_with as run_beside
from tests.test_run import FACTS, MS, answers, interval, open_plan, opening, run_of, tally
from tests.test_shapes import calibration
from tests.test_the_page import sections
from tests.test_verdict import SHELF

GOLDEN = Path(__file__).parent / "golden"
VALUE = re.compile(r"(few: )?[(≥<−+-]*\s?[\d∞]|(insufficient|unknown( \(insufficient\))?|too few|[-–])$")
CLASS = re.compile(r"http_\d+")


# ---- what is printed


def labels(text: str) -> set[str]:
    """All that a text calls a number by. A line of a single cell is a sentence: a finding's, or an objective's."""
    lines = text.splitlines()
    found = {label for line in lines for label in of_line(line)}
    for line, below in pairwise(lines):
        if heads(line) and (row := cells(below)) and sum(map(valued, row)) >= 2:
            found |= set(cells(line))
    return {CLASS.sub("http_…", label) for label in found if re.search("[a-z%]", label)}


def of_line(line: str) -> Iterator[str]:
    row = cells(line)
    yield from re.findall(r"(\w+(?:\(\w+(?:/\w+)?\))?)=\S", line)
    if "=" in line and " + " in line:  # a ledger's sum, below its own label
        yield from re.findall(r"([a-z][a-z_0-9]*(?: due)?) \d+", line)
    if re.fullmatch(r"\d+ s", row[0] if row else ""):  # a second's line
        yield from (cell.partition(" ")[2] for cell in row[1:] if re.fullmatch(r"\d+ [a-z /]+", cell))
    if len(row) > 1 and not line.startswith(" ") and not heads(line) and re.search(r"\d", line[len(row[0]) :]):
        yield row[0]
    yield from (cell for cell, following in pairwise(row) if not valued(cell) and valued(following) and not heads(line))


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip()) if line.strip() else []


def valued(cell: str) -> bool:
    return bool(VALUE.match(cell))


def heads(line: str) -> bool:
    """Whether these are the heads of columns: three cells or more, or two that stand apart from the margin, and none is a value
    but the level of an interval."""
    row = cells(line)
    return len(row) > 2 - line.startswith("   ") and not any(valued(cell) and not cell.startswith("95 %") for cell in row)


def texts(tmp_path: Path) -> dict[str, str]:
    """What the commands print, each from its own renderer or its golden file."""
    found = {
        path.stem: path.read_text(encoding="utf-8") for path in [*GOLDEN.glob("summary_*.txt"), *GOLDEN.glob("repeats*.txt")]
    }
    sweep = campaign(tmp_path / "sweep")
    list(sweep.pursue(launcher(tmp_path), lambda _: None))
    over = Over(Aim(quantile=0.99, objective_s=0.05, budget_s=240.0), [{"batch_size": 1}, {"batch_size": 2}])
    Probing(MM1(0.001), 0.99, 0.05, np.random.default_rng(1)).run(over)
    find = Campaign("find", {"slo": ["p99<50ms"]}, over, {"over": {"batch_size": [1, 2]}}, tmp_path)
    folding = Folding(opening(open_plan(workers=1)))
    folding.add(interval(0, 0, {"measure": answers([MS] * 9)}, in_flight=1))
    folding.add(Checked(levels={1: Level(1, 9, 2)}))
    much = answers([MS] * 9) + tally({"scheduled": 1, "unsent": 1}, bound=[MS], server_time=[MS], server_queue=[MS])
    told = run_of(open_plan(), [interval(0, 1, {"measure": much})], 3, facts=FACTS | {"skipped": ["a", "b"], "images": SHELF})
    before, after = ([run(seed=seed, ms=ms, seconds=6, per_s=40) for seed in range(3)] for ms in (20, 24))
    for one in (*before, *after):
        one.facts = run_with(LEAK).facts
    limited = watched(full(gauges=TOLD, growing={ITEMS: 31.0}))
    limited.facts["payload"] = {"images": 4, "bytes": 3000, "text_bytes": 4000, "sized_bytes": 3000, "pixels": 9000}
    return found | {
        "sweep": sweep_table(sweep),
        "find": answer_text(find),
        "live": str(Line(folding, 0)),
        "more": summary(told, judge(told), "x"),
        "calibrate": calibration_table(Kept(shape=shape(), calibration=calibration()), 8),
        "canary": canary_lines(run_beside(*parts()), grey=False),
        "integrity": integrity_lines(run_with(LEAK)),
        "limits": "\n".join([describe_limit(limited), describe_payload(limited)]),
        "compare": comparison_text(compare(before, after), ("a", "b")),
    }


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    return {name: labels(text) for name, text in texts(tmp_path_factory.mktemp("printed")).items()}


# ---- what is explained


def explained() -> list[tuple[str, str]]:
    """(label, heading) of each label in a table whose first column is `printed`."""
    found = []
    for heading, text in sections().items():
        for table in re.findall(r"(?m)^\| printed \|.*\n\|---.*\n((?:\|.*\n?)+)", text):
            cells = [row.split("|")[1] for row in table.splitlines()]
            found += [(label, heading) for cell in cells for label in re.findall(r"`([^`]+)`", cell)]
    return found


EXPLAINED = {label for label, _ in explained()}
CLASSES = {fate(code).removeprefix(ERROR) for code in range(10)} | {"http_…"}


@pytest.mark.parametrize(
    "text",
    ["summary_open", "summary_closed", "summary_two_servers", "summary_objectives", "more", "repeats", "sweep", "find", "live",
     "calibrate", "compare", "canary", "integrity", "limits"],
)  # fmt: skip
def test_each_number_that_is_printed_is_explained(printed: dict[str, set[str]], text: str) -> None:
    assert printed[text] - EXPLAINED == set(), "write what it is into a table `printed` of docs/how-the-numbers-are-made.md"


def test_so_is_each_class_of_error() -> None:
    assert set() == CLASSES - EXPLAINED


def test_nothing_is_explained_that_is_not_printed(printed: dict[str, set[str]]) -> None:
    assert EXPLAINED - set().union(*printed.values()) - CLASSES - UNNUMBERED == set()


UNNUMBERED = {"bound by", "kept", "concurrency"}  # a word; a path, printed by `cli.calibrate`; an axis, as `rate` is


def test_a_label_of_its_own_is_seen_wherever_it_stands() -> None:
    """A text that printed more than ours do: each new number has its label found."""
    text = """\
jitter      3.10 ms
            stolen 3 = taken 1 + missing 2

                     p50          skew
latency          8.00 ms       1.20 ms
  pile             12 µs         14 µs

    7 s      18 ok/s      4 adrift  p50  7.00 ms  slack  3.00 ms
time(s)=2.0, heat(K)=300
"""
    assert {"jitter", "stolen", "taken", "missing", "skew", "pile", "adrift", "slack", "heat(K)"} <= labels(text)
    assert labels("a sentence of 3 words, and 4 more") == set()


# ---- the rules of the generator's health


def threshold(value: float) -> str:
    if math.isinf(value):
        return "–" if value > 0 else "always"
    if not value:
        return "any"
    return f"{value / MS:g} ms" if value >= 1000 else f"{100 * value:g} %"


def test_every_rule_stands_in_its_table_with_its_thresholds() -> None:
    text = sections()["## The health of the generator"].partition("| signal |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:6]] for row in text.splitlines()[2:]]
    expected = [[rule.signal, *map(threshold, (rule.note, rule.degrading, rule.fatal))] for rule in RULES]
    assert [[row[0], *row[2:]] for row in rows] == expected
    assert all(row[1] for row in rows)
