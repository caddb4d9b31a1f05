"""The fields of a Plan: their kinds, defaults, groups and helps, from which flags, TOML keys and variables are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clipload.kinds import (
    CORES,
    FILE,
    FOLDER,
    HEADERS,
    HOST_PORT,
    NUMBER,
    OBJECTIVES,
    PATH,
    SIZE,
    TEXT,
    TIME,
    TRUTH,
    URLS,
    WHOLE,
    choice,
    printed,
    written,
)
from clipload.mixes import parse_lengths, parse_sizes
from clipload.plan.canary import CANARY
from clipload.plan.spec import plan_field
from clipload.rates import parse_burst, parse_ramp, parse_steps
from clipload.slo import Precision
from clipload.units import Duration, Size

Arrival = Literal["constant", "poisson", "gamma"]
Mode = Literal["text", "image", "multimodal", "mixed"]
DEFAULT_MODEL = "default"
DEFAULT_CONCURRENCY = 8
DEFAULT_DURATION = Duration.seconds(10)
SIDES = {"base": 224, "large-336": 336}  # clip_variant -> image side in pixels

TRANSPORTS = ("data-url", "path", "url", "path/url")
LOADS = ("concurrency", "rate", "ramp", "steps", "trace")  # a Plan has one of them


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What can be said of a load. Each field may be None only when that is its default."""

    name: str = plan_field(TEXT, "run", "run", "A word for the run directory's name.")
    seed: int = plan_field(WHOLE, 42, "run", "Seed of arrivals, bodies and synthetic Samples (>= 0).")
    profile: bool = plan_field(
        TRUTH,
        False,
        "run",
        "Have the target profile itself (/start_profile, /stop_profile) in the middle of the run.",
    )
    slo: tuple[str, ...] = plan_field(
        OBJECTIVES,
        (),
        "run",
        "An objective, any number of times: 'p99<200ms', 'service.p90<50ms', 'errors<0.1%', 'throughput>400/s' (samples). "
        "Judged on 95 % intervals; a request that is not ok counts as infinitely slow.",
    )

    base_url: tuple[str, ...] = plan_field(
        URLS,
        ("http://127.0.0.1:30000",),
        "target",
        "Server root: http://HOST:PORT, https://HOST:PORT or unix:/path/of/a/socket. Given several times, requests go to all "
        "in turn, each with connections of its own.",
    )
    api: Literal["v1", "native", "openai", "infinity", "vllm"] = plan_field(
        choice("v1", "native", "openai", "infinity", "vllm"),
        "v1",
        "target",
        "The dialect to speak: SGLang's /v1/embeddings, its own /encode, OpenAI's to the letter (texts only), Infinity's (one "
        "kind a request), vLLM's (one image a request). clipload preflight says which fits.",
    )
    model: str = plan_field(TEXT, DEFAULT_MODEL, "target", "The `model` field of each request.")
    encoding_format: Literal["float", "base64"] = plan_field(
        choice("float", "base64"), "float", "target", "How vectors are asked for."
    )
    timeout: Duration = plan_field(TIME, Duration.seconds(120), "target", "Per request, from the demand for a connection.")
    no_preflight: bool = plan_field(
        TRUTH, False, "target", "Do not ask the target first who it is and whether its vectors are right."
    )
    allow_unfit: bool = plan_field(
        TRUTH, False, "target", "Measure a target that the preflight calls unfit. Every report of the Run then says so."
    )
    outage: Duration = plan_field(
        TIME,
        Duration(0),
        "target",
        "How long a target that refuses connections is waited for, its outage measured. Default: a second; then it is dead.",
    )
    no_lookout: bool = plan_field(
        TRUTH, False, "target", "Do not look, once a second, at the target's /metrics, its processes on this host and its GPU."
    )
    server_pid: int | None = plan_field(
        WHOLE, None, "target", "The server's first process on this host. Default: who listens where --base-url leads."
    )
    no_integrity: bool = plan_field(
        TRUTH,
        False,
        "target",
        "Do not compare a sample of the replies under load with what the same Items had alone before it.",
    )
    canary: str | None = plan_field(
        CANARY, None, "target", "A low-rate stream beside the load, text:2/s, reported apart: what others notice of it."
    )
    max_connections: int | None = plan_field(
        WHOLE, None, "target", "Most connections to each base URL, all workers together. Default: as many as it takes."
    )

    transport: Literal["stream", "aiohttp"] = plan_field(
        choice("stream", "aiohttp"),
        "stream",
        "connections",
        "How requests are sent. aiohttp knows proxies, at 7 to 8 times the CPU per small request and 2.5 times per image.",
    )
    header: tuple[str, ...] = plan_field(
        HEADERS, (), "connections", "A header of each request, any number of times. Secrets go into --secret-header-file."
    )
    proxy: str = plan_field(TEXT, "", "connections", "aiohttp: an HTTP proxy, http://HOST:PORT.")
    cacert: str = plan_field(FILE, "", "connections", "https: trust the certificates of this PEM file instead of the system's.")
    cert: str = plan_field(FILE, "", "connections", "https: our own certificate, a PEM file that may hold its key too.")
    cert_key: str = plan_field(FILE, "", "connections", "https: the key of --cert, a PEM file without a password.")
    insecure: bool = plan_field(
        TRUTH, False, "connections", "https: do not verify who answers. Said in every report: anybody could have."
    )

    concurrency: int | None = plan_field(
        WHOLE,
        None,
        "load",
        f"Closed loop: requests in flight, all workers together. Default, if no load is named: {DEFAULT_CONCURRENCY}.",
    )
    rate: float | None = plan_field(NUMBER, None, "load", "Open loop: requests/s, all workers together.")
    ramp: str | None = plan_field(
        written("a ramp", "50:400", "FROM:TO", parse_ramp),
        None,
        "load",
        "Open loop: the rate goes from FROM to TO over --duration.",
    )
    steps: str | None = plan_field(
        written("a list of steps", "100,200,400", "RATES", parse_steps),
        None,
        "load",
        "Open loop: these rates, in equal parts of --duration.",
    )
    burst: str | None = plan_field(
        written("a burst", "800:1s/10s", "RATE:LENGTH/PERIOD", parse_burst),
        None,
        "load",
        "Open loop, beside --rate: another rate at the end of each period.",
    )
    trace: str | None = plan_field(
        FILE, None, "load", "Open loop: a file of recorded arrivals, one timestamp a line, replayed. Default length: all of it."
    )
    speedup: float | None = plan_field(NUMBER, None, "load", "With --trace: so many times as fast as it was recorded.")
    arrival: Arrival = plan_field(
        choice("constant", "poisson", "gamma"), "poisson", "load", "Open loop: the law of the arrivals. gamma needs --cv."
    )
    cv: float | None = plan_field(
        NUMBER, None, "load", "gamma: variation of the gaps; 1 is poisson, more is burstier, less is evener."
    )
    duration: Duration | None = plan_field(
        TIME, None, "load", f"Length of the measured phase, like 30s or 2m. Default: {DEFAULT_DURATION}."
    )
    until: str | None = plan_field(
        printed("a precision", "'p99±10%' or 'p99+-10%'", "PRECISION", Precision.parse),
        None,
        "load",
        "End before --duration once this is known so well: 'p99±10%' (or 'p99+-10%').",
    )
    num_samples: int | None = plan_field(WHOLE, None, "load", "Measure this many Samples instead of a duration.")
    warmup: Duration = plan_field(TIME, Duration(0), "load", "Load that is sent first and not part of the answer.")
    warmup_requests: int = plan_field(
        WHOLE, 0, "load", "Untimed requests to each base URL, one after another, before the load begins."
    )
    stagger: Duration = plan_field(
        TIME, Duration(0), "load", "Closed loop: each worker begins so much later than the one before it."
    )
    cooldown: Duration = plan_field(TIME, Duration(0), "load", "Open loop: load that goes on after the measured phase.")
    max_backlog: int | None = plan_field(
        WHOLE,
        None,
        "load",
        "Open loop: end early when this many are due and unanswered. Default: 10 s of arrivals, at least 1000.",
    )
    grace: Duration | None = plan_field(TIME, None, "load", "How long to wait for replies at the end. Default: the time-out.")

    mode: Mode = plan_field(
        choice("text", "image", "multimodal", "mixed"),
        "multimodal",
        "samples",
        "A Sample is a text, an image, a (text, image) pair, or, mixed, one text or one image.",
    )
    text_share: float | None = plan_field(NUMBER, None, "samples", "mixed: the share of texts, 0 to 1. Default: 0.5.")
    data_source: Literal["random", "flickr8k", "folder", "jsonl"] = plan_field(
        choice("random", "flickr8k", "folder", "jsonl"), "random", "samples", "Where Samples come from."
    )
    data: str = plan_field(
        PATH,
        "",
        "samples",
        "The folder (name.txt beside name.jpg is its caption), or the file of JSON lines with text, image or both; - is stdin.",
    )
    batch_size: int = plan_field(WHOLE, 1, "samples", "Samples per request.")
    pool: int = plan_field(
        WHOLE, 256, "samples", "Distinct Samples held ready; requests draw from them in shuffled rounds. --unique sets it."
    )
    unique: bool = plan_field(TRUTH, False, "samples", "Send no text and no image twice: as many Samples are made as are sent.")
    text_tokens: str | None = plan_field(
        written("a length or a mix of lengths", "5-76", "LENGTHS", parse_lengths),
        None,
        "samples",
        "Random texts of so many CLIP tokens: 16, 5-76, or 8:3,32:1 with weights. Default: one fixed caption.",
    )
    flickr_images_dir: str = plan_field(FOLDER, "", "samples", "Folder of Flickr8k's images.")
    flickr_captions_file: str = plan_field(FILE, "", "samples", "Flickr8k.token.txt.")
    flickr_caption_pick: Literal["first", "random"] = plan_field(
        choice("first", "random"), "first", "samples", "Which caption of an image is used."
    )
    strict: bool = plan_field(TRUTH, False, "samples", "Make a Sample that cannot be read an error instead of skipping it.")
    arena_limit: Size = plan_field(SIZE, Size(2**30), "samples", "Most memory for encoded Items.")

    clip_variant: Literal["base", "large-336"] = plan_field(
        choice(*SIDES), "base", "images", "Side of random images: 224 or 336 pixels."
    )
    image_size: str | None = plan_field(
        written("a size or a mix of sizes", "224x224:3,640x480:1", "SIZES", parse_sizes),
        None,
        "images",
        "Width x height, or a mix with weights; a dataset's are scaled and cropped. Default: --clip-variant, or as they are.",
    )
    image_kind: Literal["noise", "photo"] = plan_field(
        choice("noise", "photo"), "noise", "images", "Random images: noise, or with the spectrum of photographs."
    )
    bytes_per_pixel: float | None = plan_field(
        NUMBER, None, "images", "photo: encoded bytes per pixel, met within 10 %. Default: as rough as photographs are."
    )
    image_format: Literal["png", "jpeg", "webp", "original"] = plan_field(
        choice("png", "jpeg", "webp", "original"),
        "png",
        "images",
        "How images are encoded; original sends a dataset's files as they are.",
    )
    image_quality: int | None = plan_field(WHOLE, None, "images", "jpeg, webp: 1 to 100. Default: 95 for jpeg, 80 for webp.")
    image_transport: Literal["data-url", "path", "url", "path/url"] = plan_field(
        choice(*TRANSPORTS),
        "data-url",
        "images",
        "How an image travels: inside the request, by its path on the server's disk (path/url: the same), or by a URL.",
    )
    image_threads: int | None = plan_field(
        WHOLE, None, "images", "Threads that encode images before the load. Default: one for each core, at most 8."
    )
    images_dir: str = plan_field(
        FOLDER,
        "",
        "images",
        "path: absolute folder for images that are no files yet; they stay there. Default: /tmp/clipload-images, emptied.",
    )
    serve_images_on: str = plan_field(
        HOST_PORT,
        "",
        "images",
        "url: HOST:PORT at which images are served, as the target reaches it. Default: 127.0.0.1:30080.",
    )
    image_delay: Duration = plan_field(
        TIME, Duration(0), "images", "url: each image is sent so much later, once the load is on."
    )
    image_error_rate: float = plan_field(
        NUMBER, 0.0, "images", "url: share of fetches answered 503, seeded, once the load is on."
    )

    workers: int = plan_field(WHOLE, 1, "machine", "Worker processes, one core each.")
    cores: tuple[int, ...] | None = plan_field(
        CORES, None, "machine", "The workers' cores, like 0,2,4-7. Default: chosen and printed."
    )
    share_cores: bool = plan_field(
        TRUTH, False, "machine", "Let workers take turns on a core when there are fewer cores than workers."
    )
    use_taskset: bool = plan_field(TRUTH, False, "machine", "Pin with the taskset program instead of psutil.")

    @property
    def tls(self) -> bool:
        """Whether any base URL is https."""
        return any(url.startswith("https:") for url in self.base_url)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """(name, value) of each --header."""
        return tuple((name, value) for name, _, value in (field.partition("=") for field in self.header))

    @property
    def open_loop(self) -> bool:
        return self.concurrency is None
