"""`clipload preflight`, and the preflight of every run: exit codes, what is refused, what is branded, what is saved."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.runs import OK, TARGET, USAGE, check_finished, run_clipload
from tests.servers import ROOT, Server, command, environment, running_server

SHORT = ("--concurrency", "2", "--num-samples", "8", "--pool", "2")
QUICK = ("--law", "constant(1ms)", "--dim", "16")


def preflight(*arguments: str, **extra: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, document ({} when none was printed) and stderr of `clipload preflight --json`."""
    done = subprocess.run(
        command("preflight", *arguments, "--json"),
        capture_output=True, text=True, cwd=ROOT, env=environment(extra), timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


@pytest.fixture(scope="module")
def honest() -> Iterator[Server]:
    with running_server("sim", *QUICK) as server:
        yield server


@pytest.fixture(scope="module")
def blind() -> Iterator[Server]:
    """It ignores images."""
    with running_server("sim", *QUICK, "--lie", "ignore-images") as server:
        yield server


@pytest.mark.slow
def test_fit_unfit_and_unreachable(honest: Server, blind: Server) -> None:
    code, document, said = preflight(honest.url)
    assert (code, document["fit"]) == (OK, True)
    assert f"preflight   {honest.url}" in said
    assert "\nfit (" in said
    code, document, said = preflight(honest.url, blind.url)
    assert (code, document["fit"]) == (TARGET, False)
    assert [one["fit"] for one in document["targets"]] == [True, False], "in the order in which they were named"
    assert "UNFIT: images are ignored" in said
    assert preflight("http://127.0.0.1:1")[0] == TARGET
    assert preflight(honest.url, "--api", "openai")[0] == USAGE, "the default is pairs, which OpenAI's API has no words for"


def test_the_default_target_comes_from_where_a_run_has_it(honest: Server, tmp_path: Path) -> None:
    assert preflight(CLIPLOAD_BASE_URL=honest.url)[1]["targets"][0]["url"] == honest.url
    plan = tmp_path / "plan.toml"
    plan.write_text(f'base_url = "{honest.url}"\nmode = "text"\nrate = 5\n')
    document = preflight("--config", str(plan))[1]
    assert "images in one request" not in json.dumps(document)
    assert document["targets"][0]["fit"]


def test_a_run_refuses_an_unfit_target(blind: Server, tmp_path: Path) -> None:
    done = run_clipload(*SHORT, url=blind.url, out=tmp_path, preflight=True)
    assert done.code == TARGET
    assert "images are ignored" in done.stderr
    assert "--allow-unfit" in done.stderr
    assert not list(tmp_path.iterdir()), "nothing was measured, nothing is left"
    check_finished(run_clipload(*SHORT, "--mode", "text", url=blind.url, out=tmp_path, preflight=True))


def test_a_run_that_speaks_another_language_is_told_which_would_do(tmp_path: Path) -> None:
    with running_server("sim", *QUICK, "--api", "openai") as server:
        done = run_clipload(*SHORT, url=server.url, out=tmp_path, preflight=True)
    assert done.code == TARGET
    assert "use --api openai --mode text" in done.stderr


def test_an_unfit_target_that_is_allowed_brands_the_run(blind: Server, tmp_path: Path) -> None:
    done = run_clipload(*SHORT, "--allow-unfit", url=blind.url, out=tmp_path, preflight=True)
    check_finished(done)
    assert done.document["facts"]["preflight"][0]["fit"] is False
    branded = [finding for finding in done.document["verdict"]["findings"] if finding["sentence"].startswith("UNFIT ")]
    assert [finding["about"] for finding in branded] == ["target"]
    assert "\npreflight   UNFIT (--allow-unfit): clipload serve" in done.stderr
    assert "images are seen: images are ignored" in done.stderr


def test_a_fit_run_says_so_and_one_that_did_not_ask_says_that(honest: Server, tmp_path: Path) -> None:
    asked = run_clipload(*SHORT, url=honest.url, out=tmp_path / "asked", preflight=True)
    check_finished(asked)
    assert asked.document["facts"]["preflight"][0]["fit"] is True
    assert "\npreflight   fit: clipload serve" in asked.stderr
    not_asked = run_clipload(*SHORT, url=honest.url, out=tmp_path / "not")
    check_finished(not_asked)
    assert "preflight" not in not_asked.document["facts"]
    assert "\npreflight   none (--no-preflight)" in not_asked.stderr


def test_a_text_and_an_image_that_kill(tmp_path: Path) -> None:
    """The pair is what the run itself would send; the preflight sends it last, and says what it was."""
    with running_server("sim", *QUICK, "--lie", "die-on-mixed") as server:
        code, document, _ = preflight(server.url)
        server.process.wait(5)
    assert code == TARGET
    lines = document["targets"][0]["lines"]
    assert [line["name"] for line in lines if line["outcome"] == "unfit"] == ["a text and an image in one request"]
    assert next(line for line in lines if line["outcome"] == "unfit")["sentence"].startswith("the server died of it")
    assert [line["outcome"] for line in lines[:-1]] == ["ok"] * (len(lines) - 1), "all else was asked before"


@pytest.mark.slow
def test_a_death_that_only_a_load_shows(tmp_path: Path) -> None:
    with running_server("sim", *QUICK, "--lie", "die-on-mixed") as server:
        flags = ("--mode", "mixed", "--concurrency", "8", "--duration", "8s")
        done = run_clipload(*flags, url=server.url, out=tmp_path, preflight=True)
    check_finished(done, ended="target died", code=TARGET)
    assert done.document["facts"]["preflight"][0]["fit"] is True


def test_the_null_server_says_that_its_vectors_mean_nothing(tmp_path: Path) -> None:
    with running_server("null") as server:
        done = run_clipload(*SHORT, url=server.url, out=tmp_path, preflight=True)
    check_finished(done)
    lines = done.document["facts"]["preflight"][0]["lines"]
    assert [(line["name"], line["outcome"]) for line in lines] == [("ready", "ok"), ("truth", "not probed")]


@pytest.mark.slow
def test_the_engine_of_a_model_is_fit(opens: Server) -> None:
    code, document, said = preflight(opens.url)
    assert (code, document["fit"]) == (OK, True), said
    assert {line["outcome"] for line in document["targets"][0]["lines"]} == {"ok"}
