"""One schedule, whoever sends it: what the *server* sees does not depend on the number of workers.

Each worker needs a core of its own, so this runs 1 and 2 here; that the shares of 7 and more add up to the schedule is a law
of the pacers and is held where they are tested.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path

import pytest

from clipload.arena import count_bodies
from clipload.dialects import dialect_of
from clipload.host import allowed_cores
from clipload.pacing import BODIES, Shuffle
from clipload.plan import Plan
from clipload.sources import source_for
from tests.end_to_end.runs import check_finished, run_clipload
from tests.recording import recording

pytestmark = pytest.mark.clock

BATCH, REQUESTS = 3, 260


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen distinct texts: with batches of three, thirteen distinct bodies."""
    folder = tmp_path_factory.mktemp("captions")
    lines = [f"{name:02}.jpg#{i}\tPicture {name} , caption {i} .\n" for name in range(13) for i in range(5)]
    (folder / "captions").write_text("".join(lines))
    return folder


def expected(plan: Plan) -> list[bytes]:
    """The bodies' hashes in the order in which they are due: from the Plan alone, without Arena or worker."""
    source = source_for(
        plan.data_source,
        mode=plan.mode,
        seed=plan.seed,
        flickr_images_dir=plan.flickr_images_dir,
        flickr_captions_file=plan.flickr_captions_file,
    )
    samples = list(source.draw(plan.pool))
    dialect = dialect_of(plan)
    bodies = []
    for body in range(count_bodies(len(samples), BATCH)):
        batch = [samples[place % len(samples)] for place in range(body * BATCH, (body + 1) * BATCH)]
        bodies.append(sha256(dialect.encode(batch)).digest())
    pick = Shuffle(len(bodies), plan.seed, BODIES)
    return [bodies[pick(i)] for i in range(REQUESTS)]


@pytest.mark.parametrize("arrival", ["poisson", pytest.param("constant", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_the_server_sees_the_same_load(captions: Path, tmp_path: Path, arrival: str) -> None:
    flags = ["--mode", "text", "--data-source", "flickr8k", "--flickr-images-dir", str(captions)]
    flags += ["--flickr-captions-file", str(captions / "captions"), "--batch-size", str(BATCH), "--seed", "11"]
    flags += ["--rate", "150", "--arrival", arrival, "--num-samples", str(REQUESTS * BATCH)]
    seen = {}
    for workers in (1, 2):
        cores = allowed_cores()[:workers]
        if len(cores) < workers:
            pytest.skip("two workers need two cores")
        with recording(BATCH) as (recorded, url):
            out = tmp_path / str(workers)
            done = run_clipload(
                *flags, "--workers", str(workers), url=url, out=out, cores=",".join(str(core) for core in cores)
            )
        check_finished(done)
        plan, start_ns = Plan.from_dict(done.document["plan"]), done.document["start_ns"]
        assert plan.pool == 13
        load = [(at, body) for at, body in recorded.arrivals if at >= start_ns]
        assert len(recorded.arrivals) == len(load) + 1, "one probe, before the start"
        assert len(load) == REQUESTS == done.counts["ok"]
        check_arrivals(plan, start_ns, [at for at, _ in load])
        seen[workers] = Counter(body for _, body in load)
        assert seen[workers] == Counter(expected(plan))
        if workers == 1:
            check_order([body for _, body in load], expected(plan))
    assert seen[1] == seen[2]


def check_arrivals(plan: Plan, start_ns: int, arrivals: list[int]) -> None:
    """The n-th to arrive never comes before the n-th is due, and most come soon after."""
    due = list(islice(chain.from_iterable(plan.pacer.blocks(plan.seed)), REQUESTS))
    late = [at - start_ns - int(offset) for at, offset in zip(sorted(arrivals), due, strict=True)]
    assert min(late) >= 0
    assert sorted(late)[len(late) // 2] < 100_000_000


def check_order(found: list[bytes], wanted: list[bytes]) -> None:
    """One worker sends in due order; two connections may swap neighbours on the way."""
    same = sum(a == b for a, b in zip(found, wanted, strict=True))
    assert same > 0.5 * len(wanted)
