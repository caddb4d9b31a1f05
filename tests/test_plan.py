"""Cases of the Plan: defaults, derived figures, and that each load that cannot be names its flag and the remedy."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from clipload.errors import CliploadError, PlanError
from clipload.pacing import NEVER, Constant, Gamma, InFlight, Poisson, Shaped
from clipload.plan import Plan, flag_of, kind_of
from clipload.rates import ramp, steps
from clipload.units import Duration, Size

S = 10**9


def test_what_is_not_said_has_a_default() -> None:
    plan = Plan()
    assert (plan.concurrency, plan.rate, plan.open_loop) == (8, None, False)
    assert (plan.duration, plan.num_samples, plan.requests) == (10 * S, None, None)
    assert plan.in_flight == InFlight(8)
    assert plan.grace_ns == plan.timeout == 120 * S
    assert (plan.workers, plan.cores, plan.seed, plan.pool, plan.arena_limit) == (1, None, 42, 256, 2**30)


def test_one_rival_displaces_the_default_of_the_other() -> None:
    assert Plan(rate=5).concurrency is None
    assert Plan(num_samples=5).duration is None
    assert type(Plan(rate=5).rate) is float


def test_what_follows_from_the_fields() -> None:
    assert Plan(rate=5, arrival="constant").pacer == Constant(5.0)
    assert Plan(rate=5).pacer == Poisson(5.0)
    assert Plan(rate=5, arrival="gamma", cv=2.0).pacer == Gamma(5.0, 2.0)
    assert Plan(ramp="5:50", arrival="constant").pacer == Shaped(Constant(1.0), ramp(5.0, 50.0, 0.0, 10.0))
    warm = Plan(steps="5,50", warmup=Duration.seconds(2), duration=Duration.seconds(4))
    assert warm.pacer == Shaped(Poisson(1.0), steps((5.0, 50.0), 2.0, 4.0))
    assert (warm.peak_rate, warm.backlog_limit, Plan(rate=5, burst="300:1s/2s").backlog_limit) == (50.0, 1000, 3000)
    assert Plan().peak_rate == 0
    assert [Plan(num_samples=n, batch_size=4).requests for n in (1, 4, 5, 8)] == [1, 1, 2, 2]
    assert [Plan(mode=mode, batch_size=3).vectors_per_request for mode in ("text", "image", "multimodal", "mixed")] == [
        3,
        3,
        6,
        3,
    ]  # type: ignore[arg-type]
    assert [Plan(rate=rate).backlog_limit for rate in (1, 100, 1000)] == [1000, 1000, 10_000]
    assert Plan(rate=1, max_backlog=3).backlog_limit == 3
    assert Plan(grace=Duration(0)).grace_ns == 0
    assert Plan(base_url=("http://h:1/",)).base_url == ("http://h:1",)
    assert flag_of("flickr_images_dir") == "--flickr-images-dir"


def test_images_are_served_where_the_target_can_fetch_them() -> None:
    assert Plan(image_transport="url").serve_images_on == "127.0.0.1:30080"
    assert Plan(image_transport="path/url", mode="text").images_per_request == 0
    assert Plan(image_transport="url", batch_size=3).images_per_request == 3
    for root in ("http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "http://a.localhost:1", "unix:/run/s.sock"):
        Plan(image_transport="url", base_url=root, serve_images_on="127.0.0.1:1")
    assert Plan(image_transport="url", base_url="http://gpu:1", serve_images_on="10.0.0.1:1").serve_images_on == "10.0.0.1:1"


def test_bounds() -> None:
    times = {"warmup": Duration.seconds(1), "duration": Duration.seconds(5)}
    assert Plan(**times).bounds() == (0, S, 6 * S, 6 * S)
    assert Plan(rate=9, cooldown=Duration.seconds(2), **times).bounds() == (0, S, 6 * S, 8 * S)
    counted = Plan(rate=10, arrival="constant", num_samples=20, batch_size=2, warmup=Duration.seconds(1))
    assert counted.bounds() == (0, S, S + 950_000_001, S + 950_000_001)  # the tenth arrival after 1 s is due at 1.95 s
    assert Plan(num_samples=20).bounds()[2] >= NEVER // 2


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Plan().rate = 5.0  # type: ignore[misc]
    assert hash(Plan()) == hash(Plan())


def test_replace_checks_again() -> None:
    assert Plan().replace(pool=7).pool == 7
    with pytest.raises(PlanError, match="too small"):
        Plan().replace(pool=0)


def test_each_field_has_a_group_and_a_help() -> None:
    for spec in fields(Plan):
        assert spec.metadata["group"]
        assert spec.metadata["help"].endswith((".", ")"))
    assert {spec.name for spec in fields(Plan) if kind_of(spec).choices} == {
        "api", "encoding_format", "arrival", "mode", "data_source", "clip_variant", "image_format", "flickr_caption_pick",
        "image_kind", "image_transport", "transport",
    }  # fmt: skip


DUMMY: dict[str, Any] = {"data_source": "flickr8k", "flickr_images_dir": "x", "flickr_captions_file": "y"}
HTTPS = {"base_url": ("https://h:1",)}
ONE_S = Duration.seconds(1)
URL: dict[str, Any] = {"image_transport": "url"}
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    # loads that contradict themselves
    ({"concurrency": 4, "rate": 5.0}, "--concurrency"),
    ({"duration": ONE_S, "num_samples": 5}, "--duration"),
    ({"server_pid": 0}, "--server-pid"),
    ({"server_pid": 7, "no_lookout": True}, "--server-pid"),
    ({"server_pid": 7, "base_url": ("http://a:1", "http://b:1")}, "--server-pid"),
    ({"rate": 5.0, "workers": 2, "stagger": ONE_S}, "--stagger"),
    ({"stagger": ONE_S}, "--stagger"),
    ({"concurrency": 3, "workers": 3, "stagger": ONE_S, "duration": Duration.seconds(2)}, "--stagger"),
    ({"warmup_requests": -1}, "--warmup-requests"),
    ({"image_threads": 0}, "--image-threads"),
    ({"image_threads": 2, "mode": "text"}, "--image-threads"),
    ({"mode": "image", "unique": True, "rate": 5.0, "warmup_requests": 1}, "--unique"),
    ({"rate": 5.0, "ramp": "1:2"}, "--rate"),
    ({"concurrency": 5, "steps": "1,2"}, "--concurrency"),
    ({"ramp": "1:2", "steps": "1,2"}, "--ramp"),
    ({"ramp": "1:2", "num_samples": 5}, "--ramp"),
    ({"steps": "1,2", "num_samples": 5}, "--steps"),
    ({"rate": 5.0, "burst": "9:1s/2s", "num_samples": 5}, "--burst"),
    ({"burst": "9:1s/2s"}, "--burst"),
    ({"ramp": "1:2", "burst": "9:1s/2s"}, "--burst"),
    ({"rate": 5.0, "burst": "9:1s/20s", "duration": ONE_S}, "--burst"),
    ({"rate": 5.0, "burst": "9:1us/2us", "duration": ONE_S}, "--burst"),
    *[({"ramp": text}, "--ramp") for text in ("", "5", "0:5", "5:0", "a:b", "1:2:3", 5)],
    *[({"steps": text}, "--steps") for text in ("", "5", "5,0", "a,b")],
    *[({"rate": 5.0, "burst": text}, "--burst") for text in ("", "9", "9:1s", "9:2s/1s", "0:1s/2s")],
    ({"rate": 5.0, "trace": "t"}, "--rate"),
    ({"concurrency": 5, "trace": "t"}, "--concurrency"),
    ({"trace": "t", "arrival": "gamma", "cv": 2.0}, "--trace"),
    ({"trace": "t", "burst": "9:1s/2s"}, "--burst"),
    ({"speedup": 2.0}, "--speedup"),
    *[({"trace": "t", "speedup": factor}, "--speedup") for factor in (0.0, -1.0, 1e4, math.nan, math.inf)],
    ({"rate": 5.0, "arrival": "gamma"}, "--cv"),
    ({"rate": 5.0, "cv": 2.0}, "--cv"),
    ({"concurrency": 5, "arrival": "gamma", "cv": 2.0}, "--cv"),
    *[({"rate": 5.0, "arrival": "gamma", "cv": cv}, "--cv") for cv in (0.0, -1.0, 11.0, math.nan, math.inf)],
    ({"max_backlog": 5}, "--max-backlog"),
    ({"concurrency": 4, "max_backlog": 5}, "--max-backlog"),
    ({"max_connections": 5}, "--max-connections"),
    ({"cooldown": ONE_S}, "--cooldown"),
    ({"concurrency": 3, "workers": 4}, "--workers"),
    ({"workers": 9}, "--workers"),  # more than the default concurrency
    ({"rate": 5.0, "max_connections": 3, "workers": 4}, "--max-connections"),
    ({"rate": 5.0, "workers": 3, "cores": (0, 1)}, "--cores"),
    ({"cores": ()}, "--cores"),
    # numbers that cannot be
    *[({"rate": rate}, "--rate") for rate in (0, 0.0, -1, -0.5, math.nan, math.inf, -math.inf, 1e8)],
    *[({"concurrency": n}, "--concurrency") for n in (0, -1)],
    *[({"num_samples": n}, "--num-samples") for n in (0, -1)],
    *[({"batch_size": n}, "--batch-size") for n in (0, -1)],
    *[({"pool": n}, "--pool") for n in (0, -1)],
    *[({"workers": n}, "--workers") for n in (0, -1)],
    *[({"rate": 1.0, "max_connections": n}, "--max-connections") for n in (0, -1)],
    *[({"rate": 1.0, "max_backlog": n}, "--max-backlog") for n in (0, -1)],
    ({"duration": Duration(0)}, "--duration"),
    ({"timeout": Duration(0)}, "--timeout"),
    ({"seed": -1}, "--seed"),
    # objectives and precisions that cannot be
    *[({"slo": slo}, "--slo") for slo in ("", "p99", "p99>1s", ("p99<1s", "p99<200"), 5, (5,), ("p99<1s", "p99<1000ms"))],
    *[({"until": text}, "--until") for text in ("", "p99", "p99±0%", "errors±10%", 5)],
    ({"until": "p99±10%", "num_samples": 5}, "--until"),
    *[({"until": "p99±10%", name: text}, "--until") for name, text in (("ramp", "1:2"), ("steps", "1,2"), ("trace", "t"))],
    ({"until": "p99±10%", "rate": 5.0, "burst": "9:1s/2s"}, "--until"),
    ({"until": "p99±10%", "rate": 5.0, "cooldown": ONE_S}, "--until"),
    # ways that cannot be
    *[
        ({**HTTPS, "header": header}, "--header")
        for header in (
            ("X-A",), ("=v",), ("X A=v",), ("X-A=",), ("X-A= ",), ("X-A=é",), ("X-A=a\r\nHost: b",), 5, (5,),
            ("X-A=1", "x-a=2"),
            ("Host=h",), ("content-length=5",), ("Content-Type=text/plain",), ("Transfer-Encoding=chunked",),
            ("Connection=close",), ("Accept-Encoding=gzip",), ("Expect=100-continue",),
            ("Authorization=x",), ("X-Api-Key=x",), ("X-APIKEY=x",), ("Cookie=x",), ("X-Auth=x",), ("X-Access-Token=x",),
            ("Proxy-Authorization=x",), ("X-ClientSecret=x",), ("Ocp-Apim-Subscription-Key=x",), ("X-Password=x",),
        )
    ],
    *[({name: "x.pem"}, flag_of(name)) for name in ("cacert", "cert", "cert_key")],
    ({"insecure": True}, "--insecure"),
    ({"no_preflight": True, "allow_unfit": True}, "--allow-unfit"),
    ({"insecure": True, "base_url": ("unix:/s",)}, "--insecure"),
    ({**HTTPS, "insecure": True, "cacert": "x.pem"}, "--cacert"),
    ({**HTTPS, "cert_key": "x.pem"}, "--cert-key"),
    ({"proxy": "http://p:1"}, "--proxy"),
    ({"proxy": "http://p:1", "transport": "aiohttp", "base_url": ("http://h:1", "unix:/s")}, "--proxy"),
    *[
        ({"proxy": proxy, "transport": "aiohttp"}, "--proxy")
        for proxy in ("p:1", "https://p:1", "socks5://p:1", "http://u:p@p:1", "http://p:0", "http://p:1/a", "http://p:1?q")
    ],
    ({"transport": "curl"}, "--transport"),
    # places that cannot be
    *[
        ({"base_url": (url,)}, "--base-url")
        for url in (
            "", "http://", "127.0.0.1:30000", "localhost", "https://", "https://h:1/v1", "ftp://h:1", "unix:", "unix:a/b",
            "unix://a", "unix:/" + 107 * "a", "http+unix:///a", "http://:80", "http://h:0",
            "http://h:99999", "http://h:-1", "http://h:http", "http://h:1?q=1", "http://h:1#x", "http://user:pass@h:1",
            "http://user@h:1", "http://:pass@h:1",
        )
    ],
    ({"base_url": ()}, "--base-url"),
    ({"base_url": ("http://h:1", "http://h:1/")}, "--base-url"),
    # what an API has no words for
    *[({"api": "openai", "mode": mode}, "--api") for mode in ("image", "multimodal")],
    ({"api": "openai"}, "--api"),  # the default mode is pairs
    ({"api": "openai", "mode": "text", "canary": "image:2/s"}, "--canary"),
    *[({"canary": text}, "--canary") for text in ("", "text", "text:2", "video:2/s", "text:0/s", "text:-1/s", "text:21/s", 2)],
    *[({"api": api}, "--api") for api in ("infinity", "vllm")],
    *[({"api": api, "mode": "mixed", "batch_size": 2}, "--batch-size") for api in ("infinity", "vllm")],
    ({"api": "vllm", "mode": "image", "batch_size": 2}, "--batch-size"),
    ({"api": "infinity", "mode": "image", "image_transport": "path"}, "--image-transport"),
    ({"api": "vllm", "mode": "mixed", "image_transport": "path/url"}, "--image-transport"),
    ({"api": "native", "encoding_format": "base64"}, "--encoding-format"),
    ({"api": "native", "model": "clip"}, "--model"),
    ({"api": "v2"}, "--api"),
    *[({"name": name}, "--name") for name in ("", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\nb")],
    ({"data_source": "flickr8k"}, "--flickr-images-dir"),
    ({"data_source": "folder"}, "--data"),
    ({"data_source": "jsonl"}, "--data"),
    ({"data_source": "folder", "data": "-"}, "--data"),
    ({"data": "photos"}, "--data"),
    ({**DUMMY, "data": "photos"}, "--data"),
    # Samples that cannot be
    ({"text_share": 0.5}, "--text-share"),
    *[({"mode": "mixed", "text_share": share}, "--text-share") for share in (-0.1, 1.1, math.nan, math.inf)],
    *[({"text_tokens": text}, "--text-tokens") for text in ("", "2", "77", "5-77", "9-5", "8:0", "8:-1", "8,8", "a", "8;9", 8)],
    ({"mode": "image", "text_tokens": "8"}, "--text-tokens"),
    ({"data_source": "folder", "data": "x", "text_tokens": "8"}, "--text-tokens"),
    ({**DUMMY, "text_tokens": "8"}, "--text-tokens"),
    *[({"image_size": text}, "--image-size") for text in ("", "224", "0x5", "5x0", "4097x1", "1x4097", "axb", 5)],
    *[({"image_size": text}, "--image-size") for text in ("5x5:0", "5x5:a", "5x5:", "5x5,5x5", "5x5;6x6", "5x5,")],
    ({"image_size": "9x9", "clip_variant": "large-336"}, "--image-size"),
    *[({"mode": "text", name: value}, flag_of(name)) for name, value in (("image_size", "9x9"), ("image_kind", "photo"))],
    ({"mode": "text", "image_format": "jpeg", "image_quality": 50}, "--image-quality"),
    ({"image_quality": 50}, "--image-quality"),
    *[({"image_format": "jpeg", "image_quality": quality}, "--image-quality") for quality in (0, -1, 101)],
    ({"image_format": "original"}, "--image-format"),
    ({"data_source": "folder", "data": "x", "image_format": "original", "image_size": "9x9"}, "--image-format"),
    ({"data_source": "folder", "data": "x", "image_format": "original", "image_quality": 9}, "--image-quality"),
    ({"data_source": "folder", "data": "x", "image_kind": "photo"}, "--image-kind"),
    ({"bytes_per_pixel": 1.0}, "--bytes-per-pixel"),
    *[({"image_kind": "photo", "bytes_per_pixel": n}, "--bytes-per-pixel") for n in (0.0, -1.0, 5.0, math.nan, math.inf)],
    ({"unique": True, "mode": "image"}, "--unique"),  # a closed loop by duration
    ({"unique": True, "mode": "image", "num_samples": 5, "warmup": ONE_S}, "--unique"),
    *[({"unique": True, "mode": mode, "rate": 5.0}, "--unique") for mode in ("text", "multimodal", "mixed")],
    ({**DUMMY, "flickr_images_dir": ""}, "--flickr-images-dir"),
    ({**DUMMY, "flickr_captions_file": ""}, "--flickr-captions-file"),
    # images that cannot travel so
    *[({"image_transport": how, "mode": "text"}, "--image-transport") for how in ("path", "url")],
    *[({"image_transport": how, "images_dir": "/x"}, "--images-dir") for how in ("data-url", "url")],
    *[({"image_transport": "path", "images_dir": there}, "--images-dir") for there in ("x", "./x", "~/x")],
    *[({"image_transport": how, "serve_images_on": "h:1"}, "--serve-images-on") for how in ("data-url", "path", "path/url")],
    *[({"image_transport": how, "image_delay": ONE_S}, "--image-delay") for how in ("data-url", "path", "path/url")],
    *[({"image_transport": how, "image_error_rate": 0.1}, "--image-error-rate") for how in ("data-url", "path", "path/url")],
    *[({**URL, "image_error_rate": share}, "--image-error-rate") for share in (-0.1, 1.1, math.nan)],
    *[
        ({**URL, "serve_images_on": address}, "--serve-images-on")
        for address in (
            "h", "h:0", "h:70000", ":1", "h:x", "[::1", "http://h:1", "h:1/x", "h:1?x", "a@h:1", "h h:1", "é:1",
            "0.0.0.0:1", "[::]:1", "[0::0]:1",
        )
    ],
    *[
        ({**URL, "base_url": (root,), "serve_images_on": address}, "--serve-images-on")
        for root in ("http://gpu:30000", "http://10.0.0.7:30000", "http://[fe80::1]:30000")
        for address in ("", "localhost:1", "127.3.2.1:1", "[::1]:1")
    ],
]  # fmt: skip


@pytest.mark.parametrize(("values", "flag"), IMPOSSIBLE, ids=str)
def test_a_load_that_cannot_be_names_its_flag_and_the_remedy(values: dict[str, Any], flag: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan(**values)
    assert caught.value.flag == flag
    assert caught.value.what
    assert caught.value.remedy
    assert caught.value.exit_code == 2


WRONG_WORDS: list[tuple[str, str]] = [
    *[(f'{name} = "no such word"', flag_of(name)) for name in ("api", "encoding_format", "arrival", "mode", "data_source")],
    *[
        (f'{name} = "no such word"', flag_of(name))
        for name in ("clip_variant", "image_format", "flickr_caption_pick", "image_kind")
    ],
    ('image_transport = "uri"', "--image-transport"),
    *[(f"{name} = 1.5", flag_of(name)) for name in ("concurrency", "num_samples", "batch_size", "pool", "workers", "seed")],
    *[(f"{name} = true", flag_of(name)) for name in ("concurrency", "num_samples", "batch_size", "pool", "workers", "seed")],
    *[(f'{name} = "many"', flag_of(name)) for name in ("concurrency", "rate", "batch_size", "max_backlog", "strict")],
    *[(f"{name} = 5", flag_of(name)) for name in ("name", "model", "mode", "strict", "use_taskset", "flickr_images_dir")],
    *[(f"{name} = []", flag_of(name)) for name in ("name", "workers", "mode", "strict", "model")],
]


@pytest.mark.parametrize(("text", "flag"), WRONG_WORDS)
def test_a_word_or_a_type_that_is_not_meant_names_its_flag(text: str, flag: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_toml(text)
    assert caught.value.flag == flag
    assert caught.value.what


@pytest.mark.parametrize(("text", "flag"), WRONG_WORDS)
def test_a_word_or_a_type_that_is_not_meant_comes_with_its_remedy(text: str, flag: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_toml(text)
    assert caught.value.remedy


WRONG_TIMES = [
    *[
        (f"{name} = {value}", flag_of(name))
        for name in ("duration", "timeout", "warmup")
        for value in ("true", "-1", "inf", "[]")
    ],
    *[(f"{name} = {value}", flag_of(name)) for name in ("grace", "cooldown") for value in ('"soon"', "-0.5", "2020-01-01")],
    *[(f"arena_limit = {value}", "--arena-limit") for value in ("true", "-1", '"1gib"', "[]")],
    *[(f"cores = {value}", "--cores") for value in ('"a"', '"3-1"', '"0,0"', '""', '"-1"')],
]


@pytest.mark.parametrize(("text", "flag"), WRONG_TIMES)
def test_a_time_a_size_or_a_core_that_cannot_be_read_names_its_flag(text: str, flag: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_toml(text)
    assert caught.value.flag == flag
    assert caught.value.remedy


def test_numbers_read_as_seconds_and_bytes() -> None:
    plan = Plan.from_toml("duration = 1.5\ntimeout = 7\narena_limit = 4096\ncores = [1, 0]\nrate = 3\nworkers = 2")
    assert (plan.duration, plan.timeout, plan.arena_limit, plan.cores, plan.rate) == (1_500_000_000, 7 * S, 4096, (1, 0), 3.0)
    assert (type(plan.duration), type(plan.arena_limit)) == (Duration, Size)


def test_tables_are_for_people() -> None:
    flat = 'rate = 5\nbase-url = "http://h:1"\n'
    grouped = '[load]\nrate = 5\n[target]\nbase_url = "http://h:1"\n'
    anywhere = '[whatever]\nrate = 5\nbase_url = "http://h:1"\n'
    assert Plan.from_toml(flat) == Plan.from_toml(grouped) == Plan.from_toml(anywhere) == Plan(rate=5, base_url=("http://h:1",))


def test_base_urls_are_one_or_many() -> None:
    two = Plan(base_url=("http://h:1", "http://g:2"))
    for text in ('["http://h:1", "http://g:2/"]', '"http://h:1 http://g:2"', '"http://h:1,http://g:2"'):
        assert Plan.from_toml(f"base_url = {text}") == two
    assert 'base_url = "http://h:1"' in Plan(base_url=("http://h:1",)).to_toml()
    assert Plan.from_toml(two.to_toml()) == two


def test_objectives_are_one_or_many_and_printed_in_one_way() -> None:
    two = Plan(slo=("p99<1.5s", "errors < 0.10%"))  # type: ignore[arg-type]
    assert two.slo == ("p99<1500ms", "errors<0.1%")
    assert Plan.from_toml('slo = "p99<1500ms, errors<0.1%"') == two == Plan.from_toml(two.to_toml())
    assert Plan().slo == Plan.from_toml(Plan().to_toml()).slo == ()


def test_headers_are_one_or_many() -> None:
    two = Plan(header=("X-A=1, 2", "X-B=a=b"))
    assert two.headers == (("X-A", "1, 2"), ("X-B", "a=b"))
    assert Plan.from_toml('header = ["X-A = 1, 2", "X-B=a=b"]') == two == Plan.from_toml(two.to_toml())
    assert Plan.from_toml('header = "X-A=1"').header == ("X-A=1",)
    assert Plan().header == Plan.from_toml(Plan().to_toml()).header == ()


@pytest.mark.parametrize("name", ["X-Author", "X-Monkey", "Traceparent", "X-Request-Id", "User-Agent"])
def test_a_header_that_holds_no_secret_may_be_a_flag(name: str) -> None:
    assert Plan(header=(f"{name}=x",)).headers == ((name, "x"),)


def test_the_text_says_every_field_that_has_a_value() -> None:
    lines = Plan(rate=5).to_toml().splitlines()
    said = {line.split(" = ")[0] for line in lines if " = " in line}
    unsaid = {
        "ramp", "steps", "burst", "trace", "speedup", "cv",
        "concurrency", "until", "num_samples", "server_pid", "canary", "max_connections", "max_backlog", "grace", "cores",
        "text_share", "text_tokens", "image_size", "image_quality", "bytes_per_pixel", "image_threads",
    }  # fmt: skip
    assert said == {spec.name for spec in fields(Plan)} - unsaid


@pytest.mark.parametrize(("key", "meant"), [("concurency", "concurrency"), ("base-ur", "base_url"), ("workes", "workers")])
def test_an_unknown_key_asks_whether_another_was_meant(key: str, meant: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_toml(f"[load]\n{key} = 5\n")
    assert key.replace("-", "_") in caught.value.what
    assert caught.value.remedy == f"did you mean {meant!r}?"


def test_a_key_that_resembles_nothing_says_where_to_look() -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_dict({"zzz": 1})
    assert "--help" in caught.value.remedy


@pytest.mark.parametrize("text", ["=", "rate = ", "[load", "rate = 5\nrate = 6", "rate 5", 'name = "a'])
def test_what_is_not_toml_names_the_file(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_toml(text)
    assert caught.value.flag == "--config"
    assert caught.value.remedy


CRASHES = {
    "base_url = 5": "--base-url",  # AttributeError: rstrip before the types are checked
    'base_url = "http://[::1"': "--base-url",  # ValueError of urlsplit
    "cores = 3": "--cores",  # TypeError: 'int' is not iterable
    "rate = []": "--rate",  # TypeError of float()
}


@pytest.mark.parametrize("text", CRASHES)
def test_no_value_is_a_crash(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_toml(text)
    assert caught.value.flag == CRASHES[text]


ACCEPTED = {
    'cores = ["a"]': "--cores",
    "cores = [0, 0]\nworkers = 2": "--cores",
    "cores = [-1]": "--cores",
    "cores = [1.5]": "--cores",
    "cores = [true]": "--cores",
    "rate = true": "--rate",
    "rate = 1e-12": "--rate",  # the schedule overflows int64
    "seed = 36893488147419103232": "--seed",  # no journal can hold it
    'duration = "999999999h"': "--duration",  # bounds overflow int64
    'base_url = "http://h h:1"': "--base-url",
    'base_url = "http://h:1\\n"': "--base-url",
    "arena_limit = 0": "--arena-limit",
    "[a]\nrate = 5\n[b]\nrate = 6": "--rate",  # said twice: the last wins in silence
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_no_value_that_cannot_be_is_let_through(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_toml(text)
    assert caught.value.flag == ACCEPTED[text]


@pytest.mark.parametrize("name", ["warmup", "cooldown", "grace"])
def test_no_time_is_negative(name: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan(rate=1.0, **{name: Duration(-1)})  # type: ignore[arg-type]
    assert caught.value.flag == flag_of(name)


@pytest.mark.parametrize("values", [{"duration": 5}, {"timeout": 5}, {"grace": 7}])
def test_an_int_for_a_duration_is_refused_or_reads_back(values: dict[str, Any]) -> None:
    try:
        plan = Plan(**values)
    except CliploadError:
        return
    assert Plan.from_toml(plan.to_toml()) == plan


@pytest.mark.parametrize(
    "url", ["https://user:sesame@h:1", "https://:sesame@h", "http://user:sesame@h:0", "http://user:sesame@h:1?q=1"]
)
def test_a_password_in_the_url_is_never_echoed(url: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan(base_url=(url,))
    assert "sesame" not in str(caught.value)


def test_a_path_in_the_url_is_refused_as_long_as_workers_do_not_send_it() -> None:
    with pytest.raises(PlanError) as caught:
        Plan(base_url=("http://127.0.0.1:30000/proxy",))
    assert caught.value.flag == "--base-url"


@pytest.mark.parametrize("name", ["num_samples", "pool", "batch_size", "max_connections"])
def test_a_number_that_no_format_carries_is_refused(name: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_dict({"rate": 5.0, name: 2**65})
    assert caught.value.flag == flag_of(name)


@pytest.mark.parametrize("name", ["a\udcff", "x" * 101, "é" * 51])
def test_a_name_that_no_folder_can_have_is_refused(name: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan(name=name)
    assert caught.value.flag == "--name"
