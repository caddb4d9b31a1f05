"""The command line of `run`: flag, variable and TOML key are one thing, mistakes are one error, a rehearsal starts nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from clipload.campaign import Point
from clipload.cli import _exit_code, with_dashes
from clipload.cli.flags import plan_from, read_credentials, read_key
from clipload.credentials import Credentials
from clipload.errors import PlanError
from clipload.host import allowed_cores
from clipload.plan import Plan, flag_of
from clipload.repeats import repeats_of
from clipload.search import Ask, Told
from clipload.units import Duration, Size
from tests.certificates import certificates
from tests.servers import ROOT, command, environment

KEY = "sesame-open-thyself"
CORE = allowed_cores()[0]
OPEN = {"rate": "50"}
URL = {"image_transport": "url"}
PEM = certificates()
HTTPS = {"base_url": "https://h:1"}
TRACE = str(ROOT / "tests/golden/trace.txt")
FLICKR = {"data_source": "flickr8k", "flickr_images_dir": "images", "flickr_captions_file": "captions.txt"}


class Case(NamedTuple):
    """A field's text, what it means, another text of the same field, and what else the Plan must say."""

    text: str
    value: Any
    other: str
    beside: Mapping[str, str] = MappingProxyType({})


CASES = {
    "name": Case("evening", "evening", "morning"),
    "seed": Case("7", 7, "8"),
    "profile": Case("true", True, "false"),
    "slo": Case("p99<200ms", ("p99<200ms",), "errors<0.1%"),
    "base_url": Case("http://h:1", ("http://h:1",), "http://h:2"),
    "api": Case("native", "native", "v1"),
    "model": Case("clip", "clip", "other"),
    "encoding_format": Case("base64", "base64", "float"),
    "timeout": Case("1m30s", Duration.seconds(90), "5s"),
    "transport": Case("aiohttp", "aiohttp", "stream"),
    "header": Case("X-Trace=a b", ("X-Trace=a b",), "X-Trace=c"),
    "proxy": Case("http://p:1", "http://p:1", "http://p:2", {"transport": "aiohttp"}),
    "cacert": Case(str(PEM.ca), str(PEM.ca), str(PEM.other_ca), HTTPS),
    "cert": Case(str(PEM.client), str(PEM.client), str(PEM.server), HTTPS),
    "cert_key": Case(str(PEM.client_key), str(PEM.client_key), str(PEM.client), {**HTTPS, "cert": str(PEM.client_cert)}),
    "insecure": Case("true", True, "false", HTTPS),
    "no_preflight": Case("true", True, "false"),
    "allow_unfit": Case("true", True, "false"),
    "outage": Case("30s", Duration.seconds(30), "1m"),
    "no_lookout": Case("true", True, "false"),
    "server_pid": Case("7", 7, "8"),
    "no_integrity": Case("true", True, "false"),
    "canary": Case("image:0.5/s", "image:0.5/s", "text:2/s"),
    "max_connections": Case("9", 9, "10", OPEN),
    "concurrency": Case("3", 3, "4"),
    "rate": Case("12.5", 12.5, "13"),
    "ramp": Case("5:50", "5:50", "6:50"),
    "steps": Case("5,50", "5,50", "6,50"),
    "burst": Case("80:1s/2s", "80:1s/2s", "90:1s/2s", OPEN),
    "trace": Case(TRACE, TRACE, TRACE.replace("trace.txt", "trace_short.txt")),
    "speedup": Case("2", 2.0, "0.5", {"trace": TRACE}),
    "cv": Case("2", 2.0, "0.5", {"rate": "50", "arrival": "gamma"}),
    "arrival": Case("constant", "constant", "poisson", OPEN),
    "duration": Case("250ms", Duration(250_000_000), "3s"),
    "until": Case("p99+-10%", "p99±10%", "p90+-5%"),
    "num_samples": Case("77", 77, "78"),
    "warmup": Case("2s", Duration.seconds(2), "3s"),
    "warmup_requests": Case("8", 8, "3"),
    "stagger": Case("250ms", Duration(250_000_000), "1s", {"workers": "2", "concurrency": "2", "share_cores": "true"}),
    "cooldown": Case("1.5s", Duration.seconds(1.5), "3s", OPEN),
    "max_backlog": Case("11", 11, "12", OPEN),
    "grace": Case("0s", Duration(0), "1s"),
    "mode": Case("text", "text", "image"),
    "data_source": Case("flickr8k", "flickr8k", "random", {k: v for k, v in FLICKR.items() if k != "data_source"}),
    "batch_size": Case("64", 64, "32"),
    "text_share": Case("0.25", 0.25, "1", {"mode": "mixed"}),
    "data": Case("photos", "photos", "pictures", {"data_source": "folder"}),
    "unique": Case("true", True, "false", {"mode": "image", **OPEN}),
    "text_tokens": Case("5-76", "5-76", "8:3,32:1"),
    "image_size": Case("224x224:3,640x480:1", "224x224:3,640x480:1", "9x9"),
    "image_kind": Case("photo", "photo", "noise"),
    "bytes_per_pixel": Case("1.5", 1.5, "1", {"image_kind": "photo"}),
    "image_quality": Case("50", 50, "51", {"image_format": "webp"}),
    "clip_variant": Case("large-336", "large-336", "base"),
    "image_format": Case("jpeg", "jpeg", "png"),
    "pool": Case("5", 5, "6"),
    "flickr_images_dir": Case("images", "images", "pictures", {k: v for k, v in FLICKR.items() if k != "flickr_images_dir"}),
    "flickr_captions_file": Case("c.txt", "c.txt", "d.txt", {k: v for k, v in FLICKR.items() if k != "flickr_captions_file"}),
    "flickr_caption_pick": Case("random", "random", "first"),
    "strict": Case("true", True, "false"),
    "arena_limit": Case("64MiB", Size(2**26), "1GiB"),
    "image_transport": Case("path", "path", "path/url"),
    "image_threads": Case("3", 3, "4"),
    "images_dir": Case("/a/b", "/a/b", "/c", {"image_transport": "path"}),
    "serve_images_on": Case("127.0.0.1:9", "127.0.0.1:9", "localhost:9", URL),
    "image_delay": Case("20ms", Duration(20_000_000), "1s", URL),
    "image_error_rate": Case("0.25", 0.25, "1", URL),
    "workers": Case("1", 1, "1"),
    "cores": Case(str(CORE), (CORE,), str(CORE)),
    "share_cores": Case("true", True, "false"),
    "use_taskset": Case("true", True, "false"),
}
SWITCHES = {"strict", "unique", "use_taskset", "profile", "insecure", "share_cores", "no_preflight", "allow_unfit"}
SWITCHES |= {"no_lookout", "no_integrity"}
EACH = pytest.mark.parametrize("name", CASES)


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours from outside, and an empty folder to stand in."""
    for name in [name for name in os.environ if name.startswith("CLIPLOAD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


Rehearse = Callable[..., Plan]


@pytest.fixture
def rehearse(capsys: pytest.CaptureFixture[str]) -> Rehearse:
    """The Plan that `clipload run <arguments> --dry-run` shows: its whole output is TOML."""

    def rehearse(*arguments: str) -> Plan:
        code = _exit_code(with_dashes(["run", "--dry-run", *arguments]))
        shown = capsys.readouterr()
        assert (code, shown.err) == (0, "")
        return Plan.from_toml(shown.out)

    return rehearse


class Refusal(NamedTuple):
    code: int
    text: str


Refuse = Callable[..., Refusal]


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Refuse:
    """What is said to a mistake; never a traceback, never on stdout."""

    def refuse(*arguments: str) -> Refusal:
        code = _exit_code(with_dashes(list(arguments)))
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "Traceback" not in shown.err
        assert shown.err.startswith("clipload: ")
        assert "remedy: " in shown.err
        return Refusal(code, shown.err)

    return refuse


def flags(values: Mapping[str, str]) -> list[str]:
    return [part for name, text in values.items() for part in ([flag_of(name)] if name in SWITCHES else [flag_of(name), text])]


def config(path: Path, values: Mapping[str, str]) -> list[str]:
    """A TOML file that says these values, numbers and switches in TOML's own types, and the flag that names it."""
    types = {spec.name: str(spec.type) for spec in fields(Plan)}
    lines = []
    for name, text in values.items():
        bare = types[name].startswith(("int", "float", "bool"))
        lines.append(f"{name} = {text if bare else json.dumps(text)}")
    (path / "plan.toml").write_text("\n".join(lines))
    return ["--config", str(path / "plan.toml")]


def test_every_field_is_tried() -> None:
    assert set(CASES) == {spec.name for spec in fields(Plan)}


@EACH
def test_a_flag_means_what_it_says(name: str, rehearse: Rehearse) -> None:
    case = CASES[name]
    assert getattr(rehearse(*flags({name: case.text, **case.beside})), name) == case.value


@EACH
@pytest.mark.slow
def test_flag_variable_and_key_mean_the_same(
    name: str, rehearse: Rehearse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    values = {name: case.text, **case.beside}
    by_flag = rehearse(*flags(values))
    assert rehearse(*config(tmp_path, values)) == by_flag
    for key, text in values.items():
        monkeypatch.setenv(f"CLIPLOAD_{key.upper()}", text)
    assert rehearse() == by_flag


@EACH
@pytest.mark.slow
def test_the_flag_wins_over_the_variable_and_that_over_the_file(
    name: str, rehearse: Rehearse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    file = config(tmp_path, {name: case.other, **case.beside})
    other = getattr(rehearse(*file), name)
    assert other != case.value or case.text == case.other
    if name in SWITCHES:
        assert getattr(rehearse(*file, flag_of(name)), name) is True
    else:
        assert getattr(rehearse(*file, flag_of(name), case.text), name) == case.value
    monkeypatch.setenv(f"CLIPLOAD_{name.upper()}", case.text)
    assert getattr(rehearse(*file), name) == case.value
    if name not in SWITCHES:
        assert getattr(rehearse(*file, flag_of(name), case.other), name) == other


@pytest.mark.parametrize(("name", "rival"), [("rate", "concurrency"), ("duration", "num_samples")])
def test_what_is_nearer_replaces_its_rival(
    name: str, rival: str, rehearse: Rehearse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one, two in ((name, rival), (rival, name)):
        plan = rehearse(*config(tmp_path, {two: CASES[two].text}), *flags({one: CASES[one].text}))
        assert (getattr(plan, one), getattr(plan, two)) == (CASES[one].value, None)
        monkeypatch.setenv(f"CLIPLOAD_{two.upper()}", CASES[two].text)
        plan = rehearse(*flags({one: CASES[one].text}))
        assert (getattr(plan, one), getattr(plan, two)) == (CASES[one].value, None)
        plan = rehearse(*config(tmp_path, {one: CASES[one].text}))
        assert (getattr(plan, one), getattr(plan, two)) == (None, CASES[two].value)
        monkeypatch.delenv(f"CLIPLOAD_{two.upper()}")


def test_rivals_that_stand_together_contradict_each_other(refuse: Refuse) -> None:
    assert refuse("run", "--rate", "5", "--concurrency", "5").code == 2
    assert "--concurrency" in refuse("run", "--rate", "5", "--concurrency", "5").text
    assert "--duration" in refuse("run", "--duration", "5s", "--num-samples", "5").text


def test_an_empty_variable_says_nothing(rehearse: Rehearse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPLOAD_RATE", "")
    assert rehearse() == Plan()


def test_both_spellings_of_a_flag(rehearse: Rehearse) -> None:
    expected = Plan(base_url=("http://h:1",), batch_size=3)
    for spelling in (["--base_url", "http://h:1", "--batch_size", "3"], ["--base-url=http://h:1", "--batch_size=3"]):
        assert rehearse(*spelling) == expected
    assert with_dashes(["run", "--a_b", "c_d", "--e_f=g_h", "a_b", "--", "--i_j"]) == [
        "run", "--a-b", "c_d", "--e-f=g_h", "a_b", "--", "--i_j",
    ]  # fmt: skip


def test_a_lone_dash_is_a_value(rehearse: Rehearse, tmp_path: Path) -> None:
    for spelling in (["--data", "-"], ["--data=-"]):
        plan = rehearse("--data-source", "jsonl", *spelling, "--strict")
        assert (plan.data, plan.strict) == ("-", True)
    (tmp_path / "again.toml").write_text(plan.to_toml())
    assert rehearse("--config", "again.toml") == plan


def test_a_run_can_be_run_again_from_what_was_shown(rehearse: Rehearse, tmp_path: Path) -> None:
    plan = rehearse("--rate", "12.5", "--warmup", "2s", "--cores", str(CORE), "--name", 'a "b"')
    (tmp_path / "again.toml").write_text(plan.to_toml())
    assert rehearse("--config", str(tmp_path / "again.toml")) == plan


# ---- mistakes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--concurency", "3"], "Did you mean --concurrency?"),
        (["run", "--base_ulr", "x"], "Did you mean --base-url?"),
        (["runn"], 'Did you mean "run"?'),
        (["run", "--mode", "txt"], "'text'"),
        (["run", "--rate", "abc"], "--rate"),
        (["run", "--rate"], "--rate"),
        (["run", "--rate", "nan"], "--rate"),
        (["run", "--rate", "inf"], "--rate"),
        (["run", "--rate", "-1"], "--rate"),
        (["run", "--concurrency", "0"], "--concurrency"),
        (["run", "--duration", "soon"], "--duration"),
        (["run", "--duration", "0s"], "--duration"),
        (["run", "--arena-limit", "1gib"], "--arena-limit"),
        (["run", "--slo", "p99>200ms"], "--slo"),
        (["run", "--slo", "p99<200"], "'p99<200ms'"),
        (["run", "--slo", "p99<1s", "--slo", "p99<1000ms"], "--slo"),
        (["run", "--until", "p99"], "'p99±10%'"),
        (["run", "--until", "p99+-10%", "--num-samples", "5"], "--until"),
        (["run", "--cores", "3-1"], "--cores"),
        (["run", "--workers", "9"], "--workers"),
        (["run", "--base-url", "https://h:1/v1"], "--base-url"),
        (["run", "--base-url", "unix:server.sock"], "--base-url"),
        (["run", "--transport", "streem"], "'stream'"),
        (["run", "--header", "X-Trace"], "--header"),
        (["run", "--header", "Authorization=Bearer sesame"], "--api-key-file"),
        (["run", "--header", "X-Api-Key=sesame"], "--secret-header-file"),
        (["run", "--insecure"], "--insecure"),
        (["run", "--proxy", "http://p:1"], "--transport aiohttp"),
        (["run", "--secret-header-file", "absent"], "--secret-header-file"),
        (["run", "--base-url", "https://h:1", "--cacert", "absent", "--dry-run"], "--cacert"),
        (["run", "--max-connections", "5"], "--max-connections"),
        (["run", "--data-source", "flickr8k"], "--flickr-images-dir"),
        (["run", "--data-source", "folder"], "--data"),
        (["run", "--image-size", "224"], "--image-size"),
        (["run", "--text-tokens", "77"], "--text-tokens"),
        (["run", "--unique"], "--unique"),
        (["run", "--image-transport", "url", "--base-url", "http://gpu:30000"], "--serve-images-on"),
        (["run", "--image-transport", "url", "--serve-images-on", "0.0.0.0:30080"], "--serve-images-on"),
        (["run", "--repeats", "0"], "--repeats"),
        (["run", "--repeats", "2", "--data-source", "jsonl", "--data", "-"], "--repeats"),
        (["run", "--resume", "absent"], "--resume"),
        (["run", "--config", "absent.toml"], "--config"),
        (["run", "--api-key-file", "absent"], "--api-key-file"),
        (["run", "--dry-run", "--cores", "99999"], "--cores"),
        (["run", "stray"], "stray"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_error_with_its_remedy(arguments: list[str], said: str, refuse: Refuse) -> None:
    refusal = refuse(*arguments)
    assert refusal.code == 2
    assert said in refusal.text
    assert len(refusal.text.splitlines()) <= 3


@pytest.mark.parametrize(("name", "text"), [("concurrency", "3.5"), ("batch_size", "1.5"), ("workers", "0.6")])
def test_a_fraction_is_no_whole_number(name: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["run", "--dry-run", flag_of(name), text]) == 2
    assert flag_of(name) in capsys.readouterr().err


def test_more_workers_than_cores(refuse: Refuse) -> None:
    refusal = refuse("run", "--dry-run", "--workers", "9999", "--concurrency", "9999")
    assert (refusal.code, "--workers" in refusal.text) == (2, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate = ", "not TOML"),
        ("workes = 3", "did you mean 'workers'?"),
        ("rate = 0", "--rate"),
        ('mode = "x"', "--mode"),
    ],
)
def test_a_mistake_in_the_file(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.toml").write_text(text)
    assert _exit_code(["run", "--config", "plan.toml"]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err


def test_a_file_that_is_no_text(tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "plan.toml").write_bytes(b"\xff\xfe\x00")
    assert "--config" in refuse("run", "--config", "plan.toml").text
    assert "--config" in refuse("run", "--config", str(tmp_path)).text


def test_a_mistake_in_a_variable_names_the_variable() -> None:
    for name, text in (("RATE", "abc"), ("DURATION", "soon"), ("CORES", "3-1"), ("STRICT", "maybe"), ("WORKERS", "1.5")):
        with pytest.raises(PlanError) as caught:
            plan_from({}, None, {f"CLIPLOAD_{name}": text})
        assert caught.value.flag == f"CLIPLOAD_{name}"


@pytest.mark.parametrize(("text", "given"), [("workers = 16", {"concurrency": 32}), ("max_connections = 5", {"rate": 5.0})])
def test_flags_complete_what_a_file_begins(text: str, given: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(text)
    plan = plan_from(given, tmp_path / "plan.toml", {})
    for name, value in given.items():
        assert getattr(plan, name) == value


# ---- the key


def test_a_key_comes_from_the_file_else_from_the_variable(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"  {KEY}\n")
    assert read_key(tmp_path / "key", {"CLIPLOAD_API_KEY": "other"}) == KEY
    assert read_key(None, {"CLIPLOAD_API_KEY": f"{KEY}\n"}) == KEY
    assert read_key(None, {}) == ""


@pytest.mark.parametrize(
    "data", [b"", b" \n", b"two words", b"two\nlines", "schl\u00fcssel".encode(), b"\xff", b"a\x00b", b"a\tb"]
)
def test_a_file_without_a_key_names_its_flag_and_not_the_key(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(PlanError) as caught:
        read_key(tmp_path / "key", {})
    assert caught.value.flag == "--api-key-file"
    assert caught.value.remedy
    assert "words" not in str(caught.value)
    assert "lines" not in str(caught.value).replace("line ends", "")


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        read_key(tmp_path, {})
    assert caught.value.flag == "--api-key-file"


def test_a_bad_key_in_the_variable_names_the_variable() -> None:
    with pytest.raises(PlanError) as caught:
        read_key(None, {"CLIPLOAD_API_KEY": "two words"})
    assert caught.value.flag == "CLIPLOAD_API_KEY"


def test_the_key_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").write_text(KEY)
    monkeypatch.setenv("CLIPLOAD_API_KEY", KEY)
    for arguments in (
        ["run", "--dry-run"],
        ["run", "--dry-run", "--api-key-file", "key"],
        ["run", "--dry-run", "--rate", "5"],
        ["run", "--rate", "0"],
        ["run", "--api-key", KEY],
        ["run", f"--api_key={KEY}"],
        ["run", "--help"],
    ):
        _exit_code(with_dashes(arguments))
        shown = capsys.readouterr()
        assert KEY not in shown.out + shown.err, arguments


@pytest.mark.parametrize(
    ("flag", "file", "said"),
    [
        ("--cacert", "absent", "No such file"),
        ("--cacert", ".", "Is a directory"),
        ("--cacert", "text", "holds no certificate"),
        ("--cacert", "bytes", "no text"),
        ("--cacert", PEM.client_key, "holds no certificate"),
        ("--cert", "absent", "No such file"),
        ("--cert", "text", "holds no certificate"),
        ("--cert", PEM.client_key, "holds no certificate"),
    ],
)
def test_a_certificate_that_is_none_names_its_flag(flag: str, file: str, said: str, refuse: Refuse) -> None:
    Path("text").write_text("no certificate at all")
    Path("bytes").write_bytes(b"\xff\xfe\x00")
    refusal = refuse("run", "--dry-run", "--base-url", "https://h:1", flag, str(file))
    assert (refusal.code, flag in refusal.text, said in refusal.text) == (2, True, True), refusal.text


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ([], "holds no key"),
        (["absent"], "No such file"),
        ([PEM.server], "holds no key of the certificate"),
        ([PEM.client_cert], "holds no key"),
        ([PEM.locked_key], "protected by a password"),
    ],
)
def test_a_key_that_does_not_fit_names_its_flag(key: list[Any], said: str, refuse: Refuse) -> None:
    """A key with a password is refused and not asked for: nobody may be there to type it."""
    given = [part for file in key for part in ("--cert-key", str(file))]
    refusal = refuse("run", "--dry-run", "--base-url", "https://h:1", "--cert", str(PEM.client_cert), *given)
    assert (refusal.code, "--cert-key" in refusal.text, said in refusal.text) == (2, True, True), refusal.text


# ---- headers that hold secrets


def test_secret_headers_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "h").write_text("X-Api-Key: a b:c\n\nCookie:  s=1 \r\n")
    found = read_credentials(Plan(), None, tmp_path / "h", {"CLIPLOAD_API_KEY": KEY})
    assert found == Credentials(KEY, (("X-Api-Key", "a b:c"), ("Cookie", "s=1")))
    assert found.headers == (("Authorization", f"Bearer {KEY}"), ("X-Api-Key", "a b:c"), ("Cookie", "s=1"))
    assert read_credentials(Plan(), None, None, {}) == Credentials()
    assert KEY not in repr(found)
    assert "a b:c" not in repr(found)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n \n", b"sesame", b"X-Key sesame", b": sesame", b"X Key: sesame", b"X-Key:", b"X-Key: ses\tame\x00", b"\xff",
        "X-Key: sesam\u00e9".encode(), b"Host: sesame", b"Content-Length: 7", b"transfer-encoding: sesame",
        b"X-Key: sesame\nx-key: other", b"X-Trace: sesame", b"Authorization: sesame",
    ],
)  # fmt: skip
def test_a_file_of_headers_that_cannot_be_names_its_flag_and_no_secret(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "h").write_bytes(data)
    with pytest.raises(PlanError) as caught:
        read_credentials(Plan(header=("X-Trace=1",)), None, tmp_path / "h", {"CLIPLOAD_API_KEY": KEY})
    assert caught.value.flag == "--secret-header-file"
    assert caught.value.remedy
    assert "ses" not in str(caught.value)


def test_a_header_that_was_refused_is_not_repeated(refuse: Refuse) -> None:
    for header in (f"Authorization={KEY}", f"X-Token={KEY}", f"x_{KEY}", f"{KEY}"):
        assert KEY not in refuse("run", "--header", header).text


# ---- the rehearsal


def test_a_rehearsal_shows_the_plan_the_cores_and_the_first_instants(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["run", "--dry-run", "--rate", "4", "--arrival", "constant", "--duration", "3s"]) == 0
    shown = capsys.readouterr().out
    assert tomllib.loads(shown)["load"] == {
        "rate": 4.0, "arrival": "constant", "duration": "3s", "warmup": "0s", "cooldown": "0s",
            "warmup_requests": 0, "stagger": "0s",
    }  # fmt: skip
    comments = [line for line in shown.splitlines() if line.startswith("# ")]
    assert comments[0] == "# open loop, constant arrivals at 4 requests/s, 3s"
    assert "2 vectors a request" in comments[1]
    assert comments[2].startswith(f"# workers on cores {CORE}, supervisor on ")
    due = re.findall(r"([\d.]+ m?s) \(worker (\d+)\)", comments[3])
    assert due == [("125 ms", "0"), ("375 ms", "0"), ("625 ms", "0"), ("875 ms", "0"), ("1.12 s", "0")]


def test_a_rehearsal_shows_the_seeds_of_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["run", "--dry-run", "--repeats", "5", "--seed", "3"]) == 0
    assert "# 5 times, seeds 3 to 7\n" in capsys.readouterr().out


def test_repeats_that_are_gone_on_with_say_what_is_left_and_take_no_other_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], refuse: Refuse
) -> None:
    one = repeats_of(Plan(rate=4.0, seed=3), 3, tmp_path)
    one.save()
    assert _exit_code(["run", "--dry-run", "--resume", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "# 3 times, seeds 3 to 5\n" in said
    assert Plan.from_toml(said) == Plan(rate=4.0, seed=3)
    one.recall([Point(Told(Ask({"seed": 4}), "died", 0.0, 1.0), None, None, None)])
    one.save()
    assert _exit_code(["run", "--dry-run", "--resume", str(tmp_path)]) == 0
    assert "# 3 times, seeds 3 to 5; left: 3, 5\n" in capsys.readouterr().out
    for flag, value in (("--rate", "5"), ("--repeats", "4"), ("--config", "plan.toml")):
        refusal = refuse("run", "--resume", str(tmp_path), flag, value)
        assert (refusal.code, f"{flag}: {tmp_path} has its own" in refusal.text) == (2, True)


@pytest.mark.skipif(len(allowed_cores()) < 2, reason="needs two cores")
def test_a_rehearsal_shows_whose_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["run", "--dry-run", "--rate", "4", "--workers", "2"]) == 0
    assert re.findall(r"\(worker (\d)\)", capsys.readouterr().out) == list("01010")
    assert _exit_code(["run", "--dry-run", "--concurrency", "5", "--workers", "2"]) == 0
    assert "slots per worker: 3, 2" in capsys.readouterr().out


WATCHED = """
import sys
from clipload.cli import _exit_code
seen = []
def watch(event, given):
    if event in ("socket.__new__", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.fork", "os.forkpty",
                 "os.exec", "os.posix_spawn", "os.mkdir", "os.rename", "os.remove"):
        seen.append((event, str(given)))
    if event == "open" and isinstance(given[1], str) and set(given[1]) & set("wax+"):
        seen.append((event, str(given)))
sys.addaudithook(watch)
sys.dont_write_bytecode = True
code = _exit_code(["run", "--dry-run", *sys.argv[1:]])
print(code, seen, file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [[], ["--rate", "5", "--base-url", "http://no.such.host:1", *flags(FLICKR)]])
def test_a_rehearsal_starts_nothing(arguments: list[str], tmp_path: Path) -> None:
    """No process, no socket, no name looked up, no file or folder made."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path,
        env=environment({"PYTHONDONTWRITEBYTECODE": "1"}),
    )  # fmt: skip
    assert done.stderr.strip() == "0 []"
    assert list(tmp_path.iterdir()) == []


# ---- as people run it


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env=environment({"COLUMNS": "200"}),
    )


def test_the_help_names_every_field(tmp_path: Path) -> None:
    done = call("run", "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    for spec in fields(Plan):
        assert re.search(rf"{flag_of(spec.name)}\b", text), spec.name
        assert spec.metadata["help"].split(".")[0] in text, spec.name
    for flag in ("--config", "--api-key-file", "--out", "--json", "--dry-run", "--repeats"):
        assert flag in text
    for said in ("--trace FILE", "--cacert FILE", "--images-dir DIR", "--serve-images-on HOST:PORT"):
        assert said in text
    assert "default: False" not in text
    titles = re.findall(r"╭─ (\w+) ─", done.stdout)
    assert titles == ["Parameters", "Load", "Target", "Connections", "Samples", "Images", "Machine", "Run", "Output"]
    assert list(tmp_path.iterdir()) == []


def test_a_process_exits_with_the_code(tmp_path: Path) -> None:
    done = call("run", "--base_url", "http://h:1", "--dry-run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert Plan.from_toml(done.stdout) == Plan(base_url=("http://h:1",))
    done = call("run", "--concurency", "3", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "clipload: Unknown option: --concurency. Did you mean --concurrency?",
        "  remedy: see clipload run --help",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_not_there(tmp_path: Path) -> None:
    """Port 1 of loopback: nobody listens. Exit 3, one error, no run directory."""
    arguments = ("--base-url", "http://127.0.0.1:1", "--pool", "1", "--mode", "text", "--duration", "1s")
    done = call("run", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "--base-url" in done.stderr
    assert "remedy: " in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
