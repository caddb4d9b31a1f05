"""Real `clipload run` processes: started, watched, signalled, always ended within a bound; and the ledger that must close."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.servers import ROOT, command, environment

RUN_S, START_S = 60.0, 30.0
SECOND = re.compile(r"^ *(\d+) s +\d+ ok/s")
LATE = ("the generator itself was late", "replies were read late", "the load was not the one asked for")
OK, MISSED, INCONCLUSIVE, TARGET, UNSOUND, USAGE, INTERRUPTED = 0, 1, 4, 3, 5, 2, 130


class Finished(NamedTuple):
    """A run that is over: exit code, the document that --json printed ({} when none was), run directory, stderr, stdout."""

    code: int
    document: dict[str, Any]
    directory: Path
    stderr: str
    stdout: str

    @property
    def measure(self) -> dict[str, Any]:
        return self.document["phases"]["measure"]

    @property
    def counts(self) -> dict[str, int]:
        return self.measure["counts"]

    @property
    def findings(self) -> list[str]:
        return [finding["sentence"] for finding in self.document["verdict"]["findings"]]

    def says(self, fragment: str) -> bool:
        """It is in a finding; or a busy machine has made the generator unsound, and nothing is said of the target."""
        return self.code == UNSOUND or any(fragment in sentence for sentence in self.findings)


class Running:
    """A `clipload run` that is under way. Its stderr is read as it comes, so that it never blocks."""

    def __init__(self, process: subprocess.Popen[str], out: Path) -> None:
        self.process, self.out = process, out
        self.lines: list[str] = []
        self._stdout = ""
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_stderr, self._read_stdout)]
        for reader in self._readers:
            reader.start()

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        self._stdout = self.process.stdout.read()

    @property
    def directory(self) -> Path:
        """The one run directory under `out`."""
        found = [path for path in self.out.iterdir() if path.is_dir()] if self.out.is_dir() else []
        assert len(found) == 1, (found, "".join(self.lines))
        return found[0]

    def wait_for(self, condition: Any, seconds: float = START_S) -> Any:
        """What `condition` returns once that is true; AssertionError when the run ends before, or time does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            assert self.process.poll() is None, f"ended early with {self.process.returncode}:\n{''.join(self.lines)}"
            time.sleep(0.01)
        raise AssertionError(f"not within {seconds} s:\n{''.join(self.lines)}")

    def wait_for_second(self, second: int = 1) -> None:
        """Returns when the line of the `second`-th second has been printed: load is on the wire."""
        self.wait_for(lambda: any(int(match[1]) >= second for line in list(self.lines) if (match := SECOND.match(line))))

    def workers(self) -> list[psutil.Process]:
        """The worker processes, in the order of their numbers."""
        found = [child for child in psutil.Process(self.process.pid).children() if "clipload.worker" in " ".join(_argv(child))]
        return sorted(found, key=lambda worker: worker.pid)

    def finish(self, seconds: float = RUN_S) -> Finished:
        """Waits for the end; AssertionError when it does not come."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the run did not end within {seconds} s:\n{''.join(self.lines)}") from None
        for reader in self._readers:
            reader.join(5)
        document = json.loads(self._stdout) if self._stdout.startswith("{") else {}
        directory = Path(document["directory"]) if document else next(iter(self._directories()), self.out)
        return Finished(code, document, directory, "".join(self.lines), self._stdout)

    def _directories(self) -> list[Path]:
        return sorted(path for path in self.out.iterdir() if path.is_dir()) if self.out.is_dir() else []


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@contextmanager
def start_clipload(
    *flags: str,
    out: Path,
    url: str | None = None,
    env: Mapping[str, str] | None = None,
    cores: str | None = "0",
    descriptors: int | None = None,
    cwd: Path = ROOT,
    stdin: Path | None = None,
    preflight: bool = False,
    lookout: bool = False,
    integrity: bool = False,
    verb: str = "run",
) -> Iterator[Running]:
    """`clipload run --json` (or another verb) in a session of its own; killed with its workers when the block is left.

    `preflight` (and `lookout`, which it has too), `integrity`: without them the server sees the requests of the load and the
    probe, and no others. `descriptors`: what `ulimit -n` shall be for it. `stdin`: a file for its standard input.
    """
    arguments = [verb, "--json", "--out", str(out), *flags]
    arguments += ["--base-url", url] if url else []
    arguments += ["--cores", cores] if cores else []
    arguments += [] if preflight else ["--no-preflight", *([] if lookout else ["--no-lookout"])]
    arguments += [] if integrity or "--resume" in flags else ["--no-integrity"]
    given = open(os.devnull if stdin is None else stdin, "rb")  # noqa: PTH123, SIM115  - closed below, when the child has it
    process = subprocess.Popen(
        [*(["prlimit", f"--nofile={descriptors}"] if descriptors else []), *command(*arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=given,
        text=True,
        cwd=cwd,
        env=environment(env),
        start_new_session=True,
    )
    given.close()
    running = Running(process, out)
    try:
        yield running
    finally:
        _end(process)
        for reader in running._readers:
            reader.join(5)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def _end(process: subprocess.Popen[str]) -> None:
    """The process, its group, and its workers, which have sessions of their own."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_clipload(
    *flags: str,
    out: Path,
    url: str | None = None,
    env: Mapping[str, str] | None = None,
    cores: str | None = "0",
    timeout_s: float = RUN_S,
    descriptors: int | None = None,
    cwd: Path = ROOT,
    stdin: Path | None = None,
    preflight: bool = False,
    lookout: bool = False,
    integrity: bool = False,
    verb: str = "run",
) -> Finished:
    """One whole `clipload run --json`, or another verb."""
    with start_clipload(
        *flags,
        out=out,
        url=url,
        env=env,
        cores=cores,
        descriptors=descriptors,
        cwd=cwd,
        stdin=stdin,
        preflight=preflight,
        lookout=lookout,
        integrity=integrity,
        verb=verb,
    ) as running:
        return running.finish(timeout_s)


def check_ledger(document: Mapping[str, Any], *, measured: bool = True) -> None:
    """Every phase's ledger, recomputed from its counts, and the workers' against their sum. Something was measured."""
    assert "measure" in document["phases"] or not measured, document["phases"]
    for name, phase in document["phases"].items():
        _check_tally(name, phase)
    for number, account in document["workers"].items():
        _check_tally(f"worker {number}", account["measure"])
    if measured:
        assert document["phases"]["measure"]["counts"]["scheduled"] > 0
        total = document["phases"]["measure"]["counts"]
        for name, count in total.items():
            assert sum(account["measure"]["counts"].get(name, 0) for account in document["workers"].values()) == count, name


def _check_tally(where: str, tally: Mapping[str, Any]) -> None:
    counts, ledger = tally["counts"], tally["ledger"]
    get = counts.get
    errors = sum(count for name, count in counts.items() if name.startswith("error."))
    attempted = get("ok", 0) + errors + get("timeout", 0) + get("censored", 0)
    assert get("planned", 0) == get("scheduled", 0) + get("not_due", 0), where
    assert get("scheduled", 0) == attempted + get("unsent", 0) + get("lost", 0), where
    for name in ("planned", "not_due", "scheduled", "lost", "unsent", "ok", "timeout", "censored"):
        assert ledger[name] == get(name, 0), (where, name)
    assert sum(ledger["errors"].values()) == errors, where
    histograms = tally["histograms"]
    assert histograms.get("latency", {"count": 0})["count"] == get("ok", 0), where
    assert histograms.get("failed", {"count": 0})["count"] == errors + get("timeout", 0), where
    assert histograms.get("bound", {"count": 0})["count"] == get("censored", 0) + get("unsent", 0), where


def check_finished(finished: Finished, *, ended: str = "complete", code: int = OK) -> None:
    """The run ended so, its ledger closes, its directory is whole, and what was printed is what was saved.

    On a machine that is busy the generator may be judged too late to vouch for a figure; that alone changes no count.
    """
    assert finished.document, finished.stderr
    document = finished.document
    assert document["ended"] == ended, finished.stderr
    findings = document["verdict"]["findings"]
    late = any(finding["weight"] == "fatal" and finding["sentence"].startswith(LATE) for finding in findings)
    assert finished.code == code or (code in (OK, MISSED, INCONCLUSIVE) and late and finished.code == UNSOUND), finished.stderr
    assert document["verdict"]["exit_code"] == finished.code
    check_ledger(document)
    saved = json.loads((finished.directory / "run.json").read_text())
    assert saved == {name: value for name, value in document.items() if name not in ("verdict", "directory")}
    for name in ("plan.toml", "journal.bin", "intervals.csv", "latency.hlog"):
        assert (finished.directory / name).stat().st_size > 0, name
    for number in document["workers"]:
        for stream in ("out", "err"):
            assert (finished.directory / f"worker_{number}.{stream}").read_text() == ""
    assert not list(finished.directory.glob(".*")), "a temporary file was left"


def wait_until_gone(processes: list[psutil.Process], seconds: float) -> None:
    """AssertionError unless all have ended within `seconds`."""
    _, alive = psutil.wait_procs(processes, seconds)
    assert not alive
