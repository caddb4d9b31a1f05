"""Laws of the Plan: every valid one reads back from its TOML and from the pipe to a worker, and says the same again."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.plan import Plan
from clipload.units import Duration, Size

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
NAMES = TEXT.filter(lambda name: name and not set(name) & set("/\\\0\n") and not name.startswith("."))
TIMES = st.one_of(st.integers(0, 10**15), st.integers(0, 10**6).map(lambda s: s * 10**9)).map(Duration)
HOSTS = st.one_of(st.from_regex(r"[a-z][a-z0-9-]{0,10}(\.[a-z]{2,5})?", fullmatch=True), st.just("127.0.0.1"), st.just("[::1]"))
PORTS = st.just("") | st.integers(1, 65535).map(":{}".format)
URLS = st.builds("{}://{}{}".format, st.sampled_from(["http", "https"]), HOSTS, PORTS)
PATHS = st.from_regex(r"unix:/[a-z0-9._-]{1,50}", fullmatch=True)
HEADERS = st.dictionaries(
    st.from_regex(r"x-[a-d]{1,9}", fullmatch=True),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20).map(str.strip).filter(bool),
    max_size=3,
).map(lambda fields: tuple(f"{name}={value}" for name, value in fields.items()))
OBJECTIVES = st.sampled_from(["p99<200ms", "p99.9<1500ms", "service.p50<5ms", "errors<0.1%", "throughput>400/s"])
FILES = TEXT.filter(bool)
COUNTS = st.integers(1, 10**6)


@st.composite
def samples(draw: st.DrawFn) -> dict[str, Any]:
    """What may be said of the Samples, together."""
    values: dict[str, Any] = {
        "mode": draw(st.sampled_from(["text", "image", "multimodal", "mixed"])),
        "data_source": draw(st.sampled_from(["random", "flickr8k", "folder", "jsonl"])),
        "image_format": draw(st.sampled_from(["png", "jpeg", "webp"])),
    }
    mode, random = values["mode"], values["data_source"] == "random"
    if values["data_source"] in ("folder", "jsonl"):
        values["data"] = draw(TEXT.filter(lambda text: text not in ("", "-")))
    if mode == "mixed":
        values["text_share"] = draw(st.none() | st.floats(0, 1))
    if mode != "image" and random:
        values["text_tokens"] = draw(st.sampled_from([None, "16", "5-76", "8:3,32-40:1"]))
    if mode != "text":
        values["image_threads"] = draw(st.none() | st.integers(1, 64))
        values["clip_variant"] = draw(st.sampled_from(["base", "large-336"]))
        if values["clip_variant"] == "base":
            values["image_size"] = draw(st.sampled_from([None, "224x224", "224x224:3,640x480:1"]))
        if values["image_format"] != "png":
            values["image_quality"] = draw(st.none() | st.integers(1, 100))
        if random and draw(st.booleans()):
            values |= {"image_kind": "photo", "bytes_per_pixel": draw(st.none() | st.floats(0.001, 4))}
    return values


@st.composite
def images(draw: st.DrawFn, mode: str, base_url: tuple[str, ...]) -> dict[str, Any]:
    """How images travel, as far as the mode and the target allow."""
    how = draw(st.sampled_from(["data-url", "path/url"] if mode == "text" else ["data-url", "path", "path/url", "url"]))
    values: dict[str, Any] = {"image_transport": how}
    if how.startswith("path"):
        values["images_dir"] = draw(st.just("") | TEXT.map("/{}".format))
    elif how == "url":
        near = all(any(host in url for host in ("//127.0.0.1", "//[::1]")) for url in base_url)
        values["serve_images_on"] = draw(st.sampled_from(["", "[::1]:7", "10.0.0.1:80"] if near else ["10.0.0.1:80"]))
        values |= {"image_delay": draw(TIMES), "image_error_rate": draw(st.floats(0, 1))}
    return values


@st.composite
def ways(draw: st.DrawFn, urls: tuple[str, ...], transport: str) -> dict[str, Any]:
    """TLS and proxy, where the base URLs and the transport allow them."""
    values: dict[str, Any] = {}
    if any(url.startswith("https") for url in urls):
        values |= draw(st.sampled_from([{}, {"insecure": True}, {"cacert": "ca.pem"}]))
        values |= draw(st.fixed_dictionaries({}, optional={"cert": FILES}))
        values |= {"cert_key": draw(FILES)} if "cert" in values else {}
    if transport == "aiohttp" and not any(url.startswith("unix") for url in urls):
        values["proxy"] = draw(st.sampled_from(["", "http://127.0.0.1:3128", "http://proxy.example"]))
    return values


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A valid Plan in which any field may differ from its default."""
    workers = draw(st.integers(1, 40))
    values: dict[str, Any] = {
        "name": draw(NAMES),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "base_url": draw(st.lists(URLS | PATHS, min_size=1, max_size=4, unique=True).map(tuple)),
        "model": draw(TEXT),
        "encoding_format": draw(st.sampled_from(["float", "base64"])),
        "timeout": draw(TIMES.filter(bool)),
        "arrival": draw(st.sampled_from(["constant", "poisson"])),
        "warmup": draw(TIMES),
        "grace": draw(st.none() | TIMES),
        "outage": draw(TIMES),
        **draw(st.sampled_from([{}, {"no_preflight": True}, {"allow_unfit": True}])),
        "no_integrity": draw(st.booleans()),
        "canary": draw(st.sampled_from([None, "text:2/s", "text:0.5/s"])),
        "transport": draw(st.sampled_from(["stream", "aiohttp"])),
        "header": draw(HEADERS),
        "batch_size": draw(COUNTS),
        "pool": draw(COUNTS),
        "flickr_images_dir": draw(TEXT.filter(bool)),
        "flickr_captions_file": draw(TEXT.filter(bool)),
        "flickr_caption_pick": draw(st.sampled_from(["first", "random"])),
        "strict": draw(st.booleans()),
        "arena_limit": draw(st.integers(1, 2**40).map(Size)),
        "workers": workers,
        "cores": draw(
            st.none() | st.lists(st.integers(0, 999), min_size=workers, max_size=workers + 9, unique=True).map(tuple)
        ),
        "use_taskset": draw(st.booleans()),
        "profile": draw(st.booleans()),
        "share_cores": draw(st.booleans()),
        "warmup_requests": draw(st.integers(0, 99)),
        "slo": draw(st.lists(OBJECTIVES, max_size=3, unique=True).map(tuple)),
    }
    if len(values["base_url"]) == 1:
        values |= draw(st.sampled_from([{}, {"no_lookout": True}, {"server_pid": 4711}]))
    values |= draw(samples())
    apis = ["v1", *(["openai"] if values["mode"] == "text" else [])]
    if values["mode"] != "multimodal" and (values["batch_size"] == 1 or values["mode"] == "text"):
        apis += ["infinity", "vllm"]
    values["api"] = draw(st.sampled_from(apis))
    if draw(st.booleans()):
        values |= {"api": "native", "model": "default", "encoding_format": "float"}
    values |= draw(images(values["mode"], values["base_url"]))
    if values["api"] in ("infinity", "vllm") and values.get("image_transport") in ("path", "path/url"):
        values |= {"api": "v1"}
    values |= draw(ways(values["base_url"], values["transport"]))
    values |= draw(
        st.one_of(st.fixed_dictionaries({"duration": TIMES.filter(bool)}), st.fixed_dictionaries({"num_samples": COUNTS}))
    )
    if draw(st.booleans()):
        shapes = ["rate"] if "num_samples" in values else ["rate", "ramp", "steps", "burst"]
        shape = draw(st.sampled_from(shapes))
        if shape in ("rate", "burst"):
            values["rate"] = draw(st.floats(1e-3, 1e7))
        if shape == "burst":
            values["duration"] = draw(st.integers(2, 1000).map(Duration.seconds))
        values |= {"ramp": {"ramp": "0.5:20"}, "steps": {"steps": "3, 4.5,6"}, "burst": {"burst": "80:100ms/2s"}}.get(shape, {})
        if draw(st.booleans()):
            values |= {"arrival": "gamma", "cv": draw(st.floats(0.01, 10))}
        values["cooldown"] = draw(TIMES)
        values["max_connections"] = draw(st.none() | st.integers(workers, 10**6))
        values["max_backlog"] = draw(st.none() | COUNTS)
    else:
        values["concurrency"] = draw(st.integers(workers, 10**6))
        if workers > 1 and "num_samples" in values:
            values["stagger"] = draw(TIMES)
    if not {"num_samples", "ramp", "steps", "burst"} & values.keys() and not values.get("cooldown"):
        values["until"] = draw(st.sampled_from([None, "p99±10%", "service.p90+-2.5%", "throughput±1%"]))
    counted = "num_samples" in values and not values["warmup"] if "concurrency" in values else True
    differ = values["mode"] == "image" or values["data_source"] != "random" or values.get("text_tokens") is not None
    values["unique"] = counted and differ and not values["warmup_requests"] and draw(st.booleans())
    return Plan(**values)


LAW = settings(max_examples=40, deadline=None)


@LAW
@given(plans())
def test_a_plan_reads_back_from_its_toml(plan: Plan) -> None:
    text = plan.to_toml()
    again = Plan.from_toml(text)
    assert again == plan
    assert again.to_toml() == text
    for name in ("timeout", "warmup", "arena_limit"):
        assert type(getattr(again, name)) is type(getattr(plan, name))


@LAW
@given(plans())
def test_a_plan_survives_the_pipe_and_the_journal(plan: Plan) -> None:
    values = plan.to_dict()
    assert Plan.from_dict(values) == plan
    assert Plan.from_dict(msgspec.json.decode(msgspec.json.encode(values))) == plan
    assert Plan.from_dict(msgspec.msgpack.decode(msgspec.msgpack.encode(values))) == plan


@LAW
@given(plans().filter(lambda plan: plan.requests is None or not plan.open_loop))
def test_phases_follow_one_another(plan: Plan) -> None:
    bounds = plan.bounds()
    assert bounds[0] == 0
    assert list(bounds) == sorted(bounds)
    assert bounds[1] == plan.warmup
    assert bounds[3] - bounds[2] == plan.cooldown


@LAW
@given(plans())
def test_the_requests_hold_all_samples_and_no_batch_more(plan: Plan) -> None:
    if plan.requests is not None and plan.num_samples is not None:
        assert (plan.requests - 1) * plan.batch_size < plan.num_samples <= plan.requests * plan.batch_size
