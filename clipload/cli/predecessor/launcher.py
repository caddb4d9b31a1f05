"""`benchmark_clip_sglang_launcher.py`: pinned workers and their logs, and now their sum."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from clipload.cli import guarded
from clipload.cli.flags import plan_from
from clipload.cli.predecessor import benchmark as older
from clipload.cli.predecessor.benchmark import Benchmark
from clipload.cli.predecessor.flags import Parser, echo, masked, run_command, say, warn_of_key, without_key
from clipload.cli.predecessor.pinned import Programs, launch
from clipload.errors import EXIT_OK, CliploadError, HostError, PlanError
from clipload.host import allowed_cores, place
from clipload.plan.ranges import LONGEST
from clipload.reports.text import four_lines, worker_lines
from clipload.run import Run
from clipload.units import Duration, format_cores, parse_cores

BENCHMARK = "benchmark_clip_sglang.py"
Cores = tuple[int, ...]


def parser() -> Parser:
    """Every flag of the older launcher with its old default."""
    flags = Parser(prog="benchmark_clip_sglang_launcher.py", description=(__doc__ or "").splitlines()[0])
    flags.hint = "the benchmark's own flags come after a lone --; see benchmark_clip_sglang_launcher.py --help"
    add = flags.add_argument
    add("--workers", type=int, required=True)
    add("--cores", default="", help="like 0,2,4-7; default: the first ones. Split evenly and in order")
    add("--script", default="", help=f"another program in place of {BENCHMARK}; also looked for beside the launcher")
    add("--logs-dir", default="logs_pinned", help="worker_<i>.out, worker_<i>.err")
    add("--python", default=sys.executable, help="for another program: its interpreter")
    add("--stagger-sec", type=float, default=0.0, help="each worker begins so much later")
    add("--use-taskset", action="store_true")
    add("--dry-run", action="store_true", help="print each worker's command and cores; start nothing")
    return flags


def split_cores(cores: Cores, workers: int) -> list[Cores]:
    """Contiguous parts whose sizes differ by one at most, the larger first. Workers beyond the cores take turns on them."""
    if len(cores) < workers:
        return [(cores[worker % len(cores)],) for worker in range(workers)]
    size, more = divmod(len(cores), workers)
    starts = [worker * size + min(worker, more) for worker in range(workers + 1)]
    return [cores[begin:end] for begin, end in pairwise(starts)]


def main(arguments: Sequence[str], beside: Path) -> int:
    """The exit code; `beside`: the folder that holds the old names."""
    return guarded(lambda: _main(arguments, beside), "benchmark_clip_sglang_launcher.py")


def _main(arguments: Sequence[str], beside: Path) -> int:
    at = list(arguments).index("--") if "--" in arguments else len(arguments)
    given, passed = parser().parse(arguments[:at]), list(arguments[at + 1 :])
    if given.workers < 1:
        raise PlanError(f"{given.workers} is too small", flag="--workers", remedy="use at least 1")
    if not 0 <= given.stagger_sec <= LONGEST / 1e9:
        raise PlanError(f"{given.stagger_sec} cannot be", flag="--stagger_sec", remedy="use seconds, like 0.5")
    if passed != masked(passed):
        warn_of_key()
    cores = _cores(given)
    script = find_script(given.script, beside)
    if script != (beside / BENCHMARK).resolve():
        return _programs(given, script, passed, cores)
    benchmark = Benchmark(older.parser().parse(passed), given.workers)
    if benchmark.given.validate:  # each worker validates, as before
        return _programs(given, script, without_key(passed), cores, benchmark.key)
    return _benchmark(given, benchmark, passed, script, cores)


def find_script(name: str, beside: Path) -> Path:
    """The program: where `name` says, else beside the launcher. PlanError when there is none."""
    for path in (Path(name), beside / name) if name else (beside / BENCHMARK,):
        if path.is_file():
            return path.resolve()
    raise PlanError(f"there is no {name} here nor in {beside}", flag="--script", remedy="name a program by its path")


def _cores(given: argparse.Namespace) -> Cores:
    allowed = allowed_cores()
    cores = parse_cores(given.cores) if given.cores else allowed[: given.workers]
    if len(cores) < given.workers:
        say(f"warning: {given.workers} workers share {len(cores)} cores ({format_cores(cores)}): they slow each other down")
    return cores


def _programs(given: argparse.Namespace, script: Path, passed: list[str], cores: Cores, key: str = "") -> int:
    """Another program: pinned and logged, its results its own."""
    programs = Programs(
        command=[given.python, str(script), *passed],
        cores=split_cores(cores, given.workers),
        logs=Path(given.logs_dir),
        stagger_s=given.stagger_sec,
        use_taskset=given.use_taskset,
        key=key,
    )
    if given.dry_run:
        print(programs.rehearsal())
        return EXIT_OK
    place(1, cores, allowed_cores())  # all of them exist
    return launch(programs)


def launcher_values(given: argparse.Namespace, benchmark: Benchmark, cores: Cores) -> dict[str, Any]:
    """The fields of the Plan: the first core of each part, since a worker is one thread."""
    parts = split_cores(cores, given.workers)
    few = len(cores) < given.workers
    values = benchmark.values() | {"workers": given.workers, "cores": cores if few else tuple(part[0] for part in parts)}
    if few:
        values["share_cores"] = True
    if given.stagger_sec and given.workers > 1:
        values["stagger"] = Duration.seconds(given.stagger_sec)
    if given.use_taskset:
        values["use_taskset"] = True
    return values


def _benchmark(given: argparse.Namespace, benchmark: Benchmark, passed: list[str], script: Path, cores: Cores) -> int:
    logs = Path(given.logs_dir)
    values = launcher_values(given, benchmark, cores)
    if given.python != sys.executable:
        say(f"note: clipload's workers run in {sys.executable}; --python is for other programs")
    if given.dry_run:
        _rehearse(given, benchmark, passed, script, values)
        return EXIT_OK
    run, directory, code = older.perform(benchmark, values, logs)
    write_logs(run, directory, logs, benchmark.given.num_samples)
    print(four_lines(run, benchmark.asked), flush=True)
    return code


def _rehearse(given: argparse.Namespace, benchmark: Benchmark, passed: list[str], script: Path, values: dict[str, Any]) -> None:
    """Each worker's command as it was, the new one, and whether it could run."""
    parts = split_cores(values["cores"], given.workers)
    for worker, part in enumerate(parts):
        print(f"worker {worker}: cores {format_cores(part)}: {shlex.join([given.python, str(script), *masked(passed)])}")
    echo(run_command(values, "--out", given.logs_dir), keyed=bool(benchmark.given.api_key))
    try:
        plan = plan_from(values, None)
        place(plan.workers, plan.cores, allowed_cores(), share=plan.share_cores)
    except CliploadError as error:
        say(f"warning: without --dry-run this would end with\n  {error}")


def write_logs(run: Run, directory: Path, logs: Path, asked: int) -> None:
    """worker_<i>.out: that worker's four lines. worker_<i>.err: what it said itself, and what failed."""
    try:
        for number, account in run.workers.items():
            said = (directory / f"worker_{number}.err").read_text(encoding="utf-8", errors="replace")
            tally = account.phases["measure"]
            failed = tally.errors | ({"timeout": tally["timeout"]} if tally["timeout"] else {})
            lines = [f"{count} requests failed: {name} {run.examples.get(name, '')}".rstrip() for name, count in failed.items()]
            (logs / f"worker_{number}.out").write_text(worker_lines(run, number, asked) + "\n", encoding="utf-8")
            (logs / f"worker_{number}.err").write_text("".join(f"{line}\n" for line in lines) + said, encoding="utf-8")
    except OSError as error:
        raise HostError(
            f"cannot write {logs}: {error.strerror}", flag="--logs_dir", remedy=f"the whole Run is in {directory}"
        ) from error
