"""The payload ledger: bytes of a request, images, numbers and the link, from Runs made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from clipload.archive import document
from clipload.bottleneck import limit_of
from clipload.payload import FULL, network_limited, payload
from clipload.reports.payload import describe_payload
from clipload.run import Run
from clipload.search import Ask
from clipload.trials import told
from clipload.units import Duration
from clipload.verdict import judge
from tests.test_run import FACTS, MS, START, answers, interval, open_plan, reading, run_of
from tests.test_sightings import seconds

WEIGHED = {"images": 4, "bytes": 3000, "text_bytes": 4100, "sized_bytes": 1500, "pixels": 6000}
NOTHING = dict.fromkeys(WEIGHED, 0)
ETH = {"limits": {"links": {"eth0": 10**9}, "ports": 0, "descriptors": 0}}


def run(facts: dict[str, Any] | None = None, *, mb: float = 0.0, traffic: int = 0, **plan: Any) -> Run:
    """Two seconds of 20 requests each, of 1000 bytes up (or `mb` megabytes in all) and 4000 down; `traffic`: bytes/s on eth0
    as the kernel counted them."""
    each = answers([5 * MS] * 20)
    each.counts["bytes_sent"] = round(mb * 1e6 / 2) or each.counts["bytes_sent"]
    values = {"workers": 1, "warmup": Duration(0), "mode": "multimodal"} | plan
    frames = [interval(0, i, {"measure": each}) for i in range(2)]
    made = run_of(open_plan(**values), frames, 2.0, facts=FACTS | {"payload": WEIGHED} | (facts or {}))
    made.readings = [reading(i, traffic={"eth0": (i * traffic, 0)}) for i in range(3)] if traffic else []
    return made


def test_bytes_of_a_request_and_of_a_second() -> None:
    found = payload(run())
    assert found is not None
    assert (found.up.bytes_per_request, found.up.mbit_per_s) == (1000.0, pytest.approx(20 * 1000 * 8 / 1e6))
    assert (found.down.bytes_per_request, found.down.mbit_per_s) == (4000.0, pytest.approx(20 * 4000 * 8 / 1e6))
    assert found.bytes_per_number == pytest.approx(4000 / (2 * 512)), "a pair has two vectors"


def test_images_by_the_pixel_and_as_text() -> None:
    found = payload(run(mb=0.08))
    assert found is not None
    assert (found.image_bytes, found.bytes_per_pixel) == (750.0, 0.25), "pixels of those whose size could be read"
    assert found.base64_overhead == pytest.approx(1100 / 3000)
    assert found.image_share == pytest.approx(1025 / 2000)
    apart = payload(run(image_transport="path"))
    assert apart is not None
    assert (apart.base64_overhead, apart.image_share, apart.bytes_per_pixel) == (None, None, 0.25)


def test_without_images_there_is_nothing_to_say_of_them() -> None:
    found = payload(run({"payload": NOTHING}, mode="text"))
    assert found is not None
    assert (found.image_bytes, found.bytes_per_pixel, found.base64_overhead, found.image_share) == (None,) * 4


@pytest.mark.parametrize(
    ("links", "name", "used", "note"),
    [
        ({"eth0": 10**9}, "eth0", 0.00064, ""),
        ({"eth0": 0}, "eth0", None, "its driver does not tell its speed"),
        ({}, None, None, "none: this host itself, or a way that cannot be told"),
        ({"eth0": 1, "eth1": 1}, None, None, "the targets are reached by several"),
    ],
)
def test_the_link(links: dict[str, int], name: str | None, used: float | None, note: str) -> None:
    found = payload(run({"limits": {"links": links}}))
    assert found is not None
    assert (found.link.name if found.link else None, found.link_note) == (name, note)
    assert (found.link.used if found.link else None) == (used if used is None else pytest.approx(used))


def test_the_kernel_counts_what_the_load_does_not() -> None:
    """Images that are fetched, segments sent again, somebody else."""
    found = payload(run(ETH, traffic=10**8))
    assert found is not None
    assert found.link is not None
    assert found.link.used == pytest.approx(0.8)


@pytest.mark.parametrize(("share", "limited"), [(FULL - 0.01, False), (FULL + 0.01, True)])
def test_a_full_link_is_the_limit_whatever_else_is_full(share: float, limited: bool) -> None:
    one = run(ETH, mb=2 * 125 * share)
    one.sightings = seconds({"tokenizer": 1.0}, start_ns=START, n=3)
    limit = limit_of(one)
    assert limit is not None
    assert (network_limited(one) is not None, limit.rule) == (limited, "network" if limited else "tokenizer")
    if limited:
        assert limit.sentence == "eth0 is 71 % full (1 Gbit/s): the network is the limit"
        assert document(one)["limit"]["sentence"] == limit.sentence


@pytest.mark.parametrize(
    ("slo", "mb", "binding"), [("p50<1ms", 200.0, "network"), ("p50<1ms", 1.0, "latency"), ("p50<9ms", 200.0, None)]
)
def test_a_find_hears_that_the_network_binds(slo: str, mb: float, binding: str | None) -> None:
    one = run(ETH, mb=mb, slo=(slo,), rate=20.0)
    assert told(Ask({"rate": 20.0}), one, judge(one), 2.0).binding == binding


def test_the_lines_of_the_summary() -> None:
    assert describe_payload(run(ETH, mb=0.08)).splitlines() == [
        "payload     a request: 2.00 kB up, 4.00 kB down",
        "            on the wire: 0.32 Mbit/s up, 0.64 Mbit/s down",
        "            images: 750 B each, 0.25 bytes a pixel, base64 adds 37 %, 51 % of what goes up",
        "            vectors: 3.91 bytes a number",
        "            link: 0.1 % of eth0 (1 Gbit/s)",
    ]
    none = run({"limits": {"links": {}}, "payload": NOTHING}, mode="text")
    assert describe_payload(none).splitlines()[-1] == "            link: none: this host itself, or a way that cannot be told"
    assert document(none)["payload"]["link"] is None


def test_a_run_from_before_has_no_such_lines() -> None:
    old = run()
    del old.facts["payload"]
    assert describe_payload(old) == ""
    assert payload(run_of(open_plan(), [], 3.0)) is None
