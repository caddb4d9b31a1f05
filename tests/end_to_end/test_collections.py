"""Garbage: what a worker made before the load costs nothing under it; what it makes later is collected, timed, and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.runs import check_finished, run_clipload
from tests.servers import ROOT, running_server

HERE = Path(__file__).parents[1] / "hoarder"
LIMIT_NS = 5_000_000


@pytest.mark.slow
@pytest.mark.parametrize(("hoard", "named"), [("young", True), ("old", False)])
def test_a_million_objects_are_named_unless_they_were_there_before_the_load(tmp_path: Path, hoard: str, named: bool) -> None:
    """The time is the collection's own CPU time, so that a busy machine makes it no longer."""
    env = {"PYTHONPATH": f"{HERE}:{ROOT}", "HOARD": hoard}
    with running_server("sim", "--law", "constant(2ms)", "--cores", "1") as server:
        done = run_clipload("--mode", "text", "--rate", "100", "--duration", "3s", url=server.url, out=tmp_path, env=env)
    check_finished(done)
    longest = done.document["health"]["signals"]["collection"]["value"]
    weights = {finding["rule"]: finding["weight"] for finding in done.document["verdict"]["findings"]}
    said = [sentence for sentence in done.findings if sentence.startswith("a garbage collection stopped a worker for ")]
    assert (longest > LIMIT_NS, "collection" in weights, bool(said)) == (named, named, named), longest
    assert weights.get("collection", "degrading") == "degrading"
    assert done.document["verdict"]["generator"] != "sound" or not named
