"""A target that is killed under load: started anew it is followed, its outage measured; else it is waited for and then dead."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.runs import OK, TARGET, UNSOUND, check_finished, check_ledger, start_clipload
from tests.servers import running_server

pytestmark = pytest.mark.clock

SIM = ("--law", "constant(2ms)", "--servers", "8", "--dim", "8", "--cores", "1")
LOADS = {"open": ("--rate", "100"), "closed": ("--concurrency", "4")}
PAUSED = 4 * 20  # connections a second that four slots ask for, once the target is seen to be away


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["stream", "aiohttp"])
@pytest.mark.parametrize("loop", LOADS)
def test_one_that_comes_back_is_followed(tmp_path: Path, loop: str, transport: str) -> None:
    flags = ("--mode", "text", *LOADS[loop], "--transport", transport, "--duration", "12s", "--outage", "20s")
    with running_server("sim", *SIM) as first, start_clipload(*flags, url=first.url, out=tmp_path, lookout=True) as running:
        running.wait_for_second(2)
        first.process.kill()
        first.process.wait()
        running.wait_for_second(5)
        port = str(urlsplit(first.url).port)
        with running_server("sim", *SIM, "--port", port) as second:
            done = running.finish()
            seen = [row["targets"].get("0", {}).get("cores", {}) for row in done.document["sightings"]]
            assert second.process.poll() is None
    assert done.code in (OK, UNSOUND), done.stderr
    assert done.document["ended"] == "complete"
    check_ledger(done.document)
    (outage,) = done.document["outages"]
    assert 10**9 < outage["begin_ns"] < outage["end_ns"] < 12 * 10**9
    seconds = (outage["end_ns"] - outage["begin_ns"]) / 1e9
    assert seconds > 1.5
    assert outage["refused"] == done.counts["error.connect"]
    if loop == "closed":
        assert outage["refused"] <= 50 + 4 + PAUSED * seconds, "the slots did not spin"
    assert done.says("came back")
    assert "server" in seen[0]
    assert "server" in seen[-1], "the new process is found"
    assert {} in seen, "and in between there was none"


@pytest.mark.slow
def test_one_that_does_not_is_dead_when_the_patience_ends(tmp_path: Path) -> None:
    flags = ("--mode", "text", "--concurrency", "4", "--duration", "30s", "--outage", "3s")
    with running_server("sim", *SIM) as server, start_clipload(*flags, url=server.url, out=tmp_path) as running:
        running.wait_for_second(2)
        server.process.kill()
        done = running.finish()
    check_finished(done, ended="target died", code=TARGET)
    (outage,) = done.document["outages"]
    assert outage["end_ns"] is None
    lasted = done.document["stop_ns"] - done.document["start_ns"] - outage["begin_ns"]
    assert lasted > 3 * 10**9
    (sentence,) = [said for said in done.findings if "died or was stopped" in said]
    assert "with 4 in flight, after " in sentence
    assert sentence.endswith(f"{done.counts['ok']} ok replies; it was waited for 3s (--outage)")
