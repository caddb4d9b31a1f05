"""The order of the house: floors and downward imports, no cycles, sizes, names, and what an import may cost.

Everything is read from the syntax trees, so an import counts wherever it stands: in a function and under TYPE_CHECKING too.
A module that is not yet written may have a floor; a module without a floor fails, so that its author decides where it lives.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "clipload"

# From the ground up. A module imports its own floor and those below it, never one above.
FLOORS = {
    "words": ("errors", "units", "values"),
    "arithmetic": (
        *("histogram", "hlog", "rates", "mixes", "pacing", "likeness", "scaling", "search"),
        *(
            "distributions",
            "series",
            "estimate",
            "changes",
            "judgement",
            "lateness",
            "steadiness",
            "slo",
            "retrieval",
            "growth",
            "principal",
        ),
    ),
    "documents": (
        *("credentials", "kinds", "plan", "tally", "frames", "outcomes", "seconds", "figures", "own", "certainty"),
        *("run", "rows", "folding", "stopping", "objectives", "remarks", "outliers", "signals", "health", "capacity"),
        *("sightings", "bottleneck", "outages", "payload", "agreement"),
        *("verdict", "trials", "spread", "recurrence", "compare", "paired"),
    ),
    "edges": (
        *("dialects", "sources", "arena", "transports", "timer", "traces", "schedule", "files"),
        *("host", "gallery", "room", "certificates", "target", "archive", "dumps", "vitals", "shapes"),
        *("gauges", "processes", "gpus", "scales"),
    ),
    "machinery": ("worker", "account", "witness", "sampler", "wire", "launchers", "profiler", "lookout", "backends"),
    "uses": (
        *("preflight", "integrity", "preparation", "canary", "measurement", "campaign", "calibration", "repeats"),
        *("searches", "interleaving", "exposition"),
        *("embedding", "verification", "validation", "server", "reports"),
    ),
    "roof": ("cli", "__main__"),
}
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS.values()) for name in names}

LONGEST_FILE = 300
LONGEST_FUNCTION = 50
# Each exception says why; one that is no longer needed fails too. Files by path, functions by path:name.
LONG_FILES = {
    "clipload/histogram.py": "one hard thing: recording, merging and the V2 codec share the bucket arithmetic",
    "clipload/transports/stream.py": "the hot path's other half: framing, time-outs and the FIFO are one state machine",
    "clipload/worker.py": "the hot loop: one hard thing that is read as a whole",
}
LONG_FUNCTIONS = {
    "clipload/cli/embed.py:embed": "its parameters are the flags, each with its help",
    "clipload/cli/serve.py:serve": "its parameters are the flags, each with its help",
    "clipload/cli/validate.py:validate": "its parameters are the flags, each with its help",
}

FORBIDDEN_WORDS = {"util", "helper", "manager", "handler", "mixin", "common", "core"}  # and their plurals
TOP_LEVEL = {
    *("pyproject.toml", "README.md", "clipload", "scripts", "tests", "benchmarks"),
    *("docs", "examples", "constraints", "LICENSE", "CHANGELOG.md", "SECURITY.md"),
}
NOT_AT_IMPORT = {"torch", "transformers", "altair", "ray"}
MAY_PRINT = ("clipload/cli/", "clipload/reports/")


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    return tuple(sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def modules(root: Path = ROOT) -> dict[str, Path]:
    """Dotted name → file, of the package `clipload` under `root`."""
    named = {}
    for path in sorted((root / "clipload").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imported_names(module: str, path: Path) -> Iterator[str]:
    """The dotted names that a module's import statements speak of, relative ones made absolute."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            start = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


@cache
def imports(root: Path = ROOT) -> dict[str, frozenset[str]]:
    """Module → the modules of ours that it imports: of `a.b.name` the longest part that is a module."""
    graph = {}
    for module, path in modules(root).items():
        found = set()
        for name in imported_names(module, path):
            while name and name not in modules(root):
                name = name.rpartition(".")[0]
            found.add(name)
        graph[module] = frozenset(found - {"", module})
    return graph


def family(module: str) -> str:
    """`clipload.sources.flickr8k` → `sources`; the package itself → nothing."""
    return module.split(".")[1] if "." in module else ""


def floor(module: str) -> int:
    """The package itself lies below all floors: everyone may import its version, it imports nobody."""
    return FLOOR_OF.get(family(module), len(FLOORS)) if family(module) else -1


def upward(graph: dict[str, frozenset[str]]) -> list[str]:
    return [
        f"{module} imports {to}" for module, targets in graph.items() for to in sorted(targets) if floor(to) > floor(module)
    ]


def cycle(graph: dict[str, frozenset[str]]) -> list[str]:
    """The modules of one cycle, each imported by the one before it; empty when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_module_has_a_floor() -> None:
    homeless = sorted({family(module) for module in modules()} - set(FLOOR_OF) - {""})
    assert homeless == [], "give each a floor in FLOORS, and in the docs' layout"
    assert len(FLOOR_OF) == sum(map(len, FLOORS.values())), "a module stands on two floors"


def test_imports_run_downwards() -> None:
    assert upward(imports()) == []


def test_no_import_cycles() -> None:
    assert cycle(imports()) == []


@pytest.mark.parametrize(
    "statement",
    [
        "import clipload.cli.top",
        "from clipload.cli import top",
        "from clipload.cli.top import name as other",
        "from .cli.top import name",
        "from .cli import top",
        "def f():\n    import clipload.cli.top",
        "if TYPE_CHECKING:\n    from clipload.cli.top import name",
    ],
)
def test_no_import_escapes_the_rules(tmp_path: Path, statement: str) -> None:
    (tmp_path / "clipload" / "cli").mkdir(parents=True)
    for name, text in {"__init__": "", "errors": statement, "cli/__init__": "", "cli/top": "from ..errors import name"}.items():
        (tmp_path / "clipload" / f"{name}.py").write_text(text)
    graph = imports(tmp_path)
    assert upward(graph) == ["clipload.errors imports clipload.cli.top"]
    assert set(cycle(graph)) == {"clipload.errors", "clipload.cli.top"}


def test_files_are_short() -> None:
    lengths = {where(path): len(path.read_text().splitlines()) for path in python_files("clipload", "scripts", "benchmarks")}
    long = {name: length for name, length in lengths.items() if length > LONGEST_FILE}
    assert long.keys() - LONG_FILES.keys() == set(), (
        f"over {LONGEST_FILE} lines: split, or name the reason in LONG_FILES: {long}"
    )
    stale = {name for name in LONG_FILES if name in lengths and name not in long}
    assert stale == set(), "no longer long: take it out of LONG_FILES"


def test_functions_are_short() -> None:
    lengths = {
        f"{where(path)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in python_files("clipload", "scripts", "benchmarks")
        for node in functions(path)
    }
    long = {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION}
    assert long.keys() - LONG_FUNCTIONS.keys() == set(), f"over {LONGEST_FUNCTION} lines: {long}"
    stale = {name for name in LONG_FUNCTIONS if name in lengths and name not in long}
    assert stale == set(), "no longer long: take it out of LONG_FUNCTIONS"


def test_names_say_something() -> None:
    words = {
        where(path): {
            word.removesuffix("s") for part in path.relative_to(ROOT).with_suffix("").parts for word in part.split("_")
        }
        for path in python_files("clipload", "scripts", "benchmarks", "tests")
    }
    assert {name: found & FORBIDDEN_WORDS for name, found in words.items() if found & FORBIDDEN_WORDS} == {}


def test_only_the_roof_and_the_reports_print() -> None:
    prints = [
        f"{where(path)}:{node.lineno}"
        for path in python_files("clipload")
        if not where(path).startswith(MAY_PRINT)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert prints == [], "write to stderr or return the text: print is for cli/ and reports/"


def test_every_file_says_what_it_is() -> None:
    files = python_files("clipload", "scripts", "benchmarks", "tests", "examples")
    assert len(files) > len(modules()) > 0, "nothing was looked at"
    assert [where(path) for path in files if not ast.get_docstring(tree(path))] == []


def test_the_top_level_is_what_the_design_says() -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: nothing says which files belong to it")
    top = {name.split("/")[0] for name in listed.split("\0") if name and not name.startswith(".")}
    assert top - TOP_LEVEL == set(), "the top level is full: find it a home"


def test_the_command_line_imports_nothing_heavy() -> None:
    program = "import clipload.cli, json, sys; clipload.cli.main; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    heavy = {name for name in json.loads(done.stdout) if name.split(".")[0] in NOT_AT_IMPORT}
    assert heavy == set(), "import it where it is used"
