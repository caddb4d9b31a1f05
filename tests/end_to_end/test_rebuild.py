"""The journal is the Run: every document can be made from it again, byte for byte, and other tools read what we write."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from clipload import archive
from clipload.histogram import DIGITS, HIGHEST, LOWEST, Histogram
from tests.end_to_end.runs import Finished, check_finished, run_clipload
from tests.servers import running_server

DOCUMENTS = ("plan.toml", "intervals.csv", "latency.hlog", "run.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two workers, three phases, and failures of several kinds."""
    faults = ("--reset-rate", "0.05", "--max-queue", "30", "--seed", "1")
    with running_server("sim", "--law", "exp(4ms)", *faults, "--cores", "1", "--enable-metrics") as server:
        flags = ["--mode", "text", "--rate", "230", "--duration", "2s", "--warmup", "700ms", "--cooldown", "600ms"]
        flags += ["--workers", "2", "--name", "rebuilt"]
        done = run_clipload(*flags, url=server.url, out=tmp_path_factory.mktemp("runs"), cores="0,1", lookout=True)
    check_finished(done)
    assert done.counts["error.reset"] > 0
    return done


def test_the_journal_gives_every_document_again(finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "journal.bin").write_bytes((finished.directory / "journal.bin").read_bytes())
    run = archive.load(tmp_path)
    run.check_ledger()
    assert archive.document(run) == json.loads((finished.directory / "run.json").read_text())
    assert archive.intervals_csv(run) == (finished.directory / "intervals.csv").read_text()
    assert "".join(archive.latency_hlog(run)) == (finished.directory / "latency.hlog").read_text()
    archive.save(run, tmp_path)
    for name in DOCUMENTS:
        assert (tmp_path / name).read_bytes() == (finished.directory / name).read_bytes(), name


def test_the_target_was_looked_at(finished: Finished) -> None:
    """Its process, and what it told of itself, on the clock of the run."""
    (target,) = finished.document["facts"]["lookout"]["targets"]
    assert list(target["processes"].values()) == ["server"]
    assert (target["cores"], target["missing"], target["told_at"], target["not_told"]) == (1, "", "/metrics", "")
    seen = finished.document["sightings"]
    assert [round(row["at_s"]) for row in seen] == list(range(1, 1 + len(seen)))
    assert all(row["targets"]["0"]["cores"]["server"] > 0 for row in seen)
    assert any(row["targets"]["0"]["items"] > 50 for row in seen)
    assert finished.document["limit"]["targets"][0]["seen"]["processes"][0]["share_of_a_core"] > 0
    unsound = finished.document["verdict"]["generator"] == "unsound"  # then nothing is said of the target
    assert ("\nlimit       " in finished.stderr) is not unsound


def test_the_series_adds_up_to_the_whole(finished: Finished) -> None:
    rows = [line.split(",") for line in (finished.directory / "intervals.csv").read_text().splitlines()]
    columns = {name: [float(row[at] or 0) for row in rows[1:]] for at, name in enumerate(rows[0])}
    phases = finished.document["phases"].values()
    assert sum(columns["ok"]) == sum(phase["counts"]["ok"] for phase in phases)
    assert sum(columns["errors"]) == sum(sum(phase["ledger"]["errors"].values()) for phase in phases)
    assert columns["second"] == list(range(len(rows) - 1))


def test_saved_percentiles_are_those_of_the_saved_histograms(finished: Finished) -> None:
    for phase in finished.document["phases"].values():
        for name, saved in phase["histograms"].items():
            whole = Histogram.decode_v2(base64.b64decode(saved["v2"]))
            assert {label: whole.quantile(q) for label, q in archive.PERCENTILES.items()} == pytest.approx(
                {label: saved[label] for label in archive.PERCENTILES}, rel=1e-3, abs=512
            ), name
            check_same(HdrHistogram.decode(saved["v2"]), whole)


def check_same(theirs: HdrHistogram, ours: Histogram) -> None:
    """The same count and percentiles. Theirs rank by ⌊q·N + ½⌋, one less than Java's and ours now and then."""
    total = theirs.get_total_count()
    assert total == ours.total > 0
    for q in (0.5, 0.9, 0.95, 0.99, 0.999, 1.0):
        rank = max(1, int(q * total + 0.5))
        assert theirs.get_value_at_percentile(100 * q) == pytest.approx(ours.quantile(rank / total), rel=1e-3, abs=512), q


def test_the_log_opens_in_hdrhistograms_own_reader(finished: Finished) -> None:
    whole = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    reader = HistogramLogReader(str(finished.directory / "latency.hlog"), whole)
    tags: dict[str | None, int] = {}
    while (read := reader.get_next_interval_histogram()) is not None:
        tags[read.get_tag()] = tags.get(read.get_tag(), 0) + read.get_total_count()
        if not read.get_tag():
            whole.add(read)
    reader.close()
    ours = Histogram()
    for tally in archive.load(finished.directory).phases.values():
        ours += tally.histogram("latency")
    check_same(whole, ours)
    phases = finished.document["phases"].values()
    for name in ("service", "lag", "wait", "failed"):
        assert tags[name] == sum(phase["histograms"].get(name, {"count": 0})["count"] for phase in phases), name
