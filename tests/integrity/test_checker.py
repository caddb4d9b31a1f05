"""The checker: what records mean, what it adds up, and the process itself at real pipes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import msgspec
import numpy as np
import pytest

from clipload.agreement import Agreement, Checked, Level
from clipload.dialects import EmbeddingRequest, ServerItem, server_dialect_for
from clipload.integrity.checker import LISTENING, Checker, CheckJob, Inlet, Sampled, described
from clipload.likeness import NONE, Compared
from clipload.plan import Plan
from clipload.sampler import HEAD, TAIL
from clipload.units import Duration
from tests.servers import ROOT, environment

PLAN = Plan(rate=5.0, duration=Duration.seconds(1), mode="text", batch_size=2)
ROWS = np.random.default_rng(3).standard_normal((4, 8)).astype(np.float32)
BODIES = {7: [0, 1], 9: [2, NONE]}


def job(fds: list[int], **plan: Any) -> CheckJob:
    return CheckJob(PLAN.replace(**plan).to_dict(), fds, BODIES, ROWS.tobytes(), 1, *ROWS.shape, 1e-5)


def reply_of(vectors: Any, encoding: str = "float") -> bytes:
    """A reply of SGLang's, without its head."""
    rows = np.asarray(vectors, np.float32)
    request = EmbeddingRequest((ServerItem(text="a"),) * len(rows), "m", encoding)  # type: ignore[arg-type]
    return server_dialect_for("v1").reply(request, rows, [1] * len(rows), "m")


def sampled(vectors: Any, body: int = 7, in_flight: int = 2, done: int = 0, **more: Any) -> Sampled:
    reply = vectors if isinstance(vectors, bytes) else reply_of(vectors, **more)
    return Sampled(body, 0, in_flight, done, False, reply)


def agreed(*records: Sampled, **plan: Any) -> Agreement:
    checker = Checker(job([], **plan))
    for record in records:
        checker.hear(record)
    return found_by(checker)


def found_by(checker: Checker, workers: int = 0) -> Agreement:
    return checker.take().agreement(Agreement(limit=1e-5), workers)


def packed(record: Sampled) -> bytes:
    head = HEAD.pack(len(record.reply), record.body, record.target, record.in_flight, record.done, record.headed)
    return head + record.reply


def test_records_come_out_whole_however_the_bytes_come_in() -> None:
    records = [sampled(ROWS[:2]), Sampled(TAIL, 3, 4, 5, False, b""), sampled(b"", in_flight=9)]
    data = b"".join(map(packed, records))
    for step in (1, 47, len(data)):
        inlet = Inlet()
        assert [one for at in range(0, len(data), step) for one in inlet.feed(data[at : at + step])] == records


def test_what_is_right_and_what_is_wrong_by_level_and_second() -> None:
    found = agreed(
        sampled(ROWS[:2], done=10**9),
        sampled(ROWS[[1, 0]], in_flight=8, done=10**9 + 5),
        sampled(ROWS[[0, 3]], in_flight=8, done=3 * 10**9),
        sampled(ROWS[[2, 3]], body=9, done=3 * 10**9),
    )
    assert found.levels == [
        Level(2, sampled=2, vectors=4),
        Level(8, sampled=2, wrong=2, vectors=4, wrong_vectors=3, classes={"order": 1, "swapped": 1}),
    ]
    assert found.seconds == [(2, 1), (2, 1)]
    assert (found.sampled, found.wrong, found.compared) == (4, 2, 7), "one Item has no reference"
    assert found.distance > 0.1
    assert found.difference > 0.1
    assert found.examples["order"].startswith("vector 1 of 2 with 8 in flight, cosine ")


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (b"{", "unreadable"),
        (b'{"data":[]}', "count"),
        (reply_of(ROWS[:1]), "count"),
        (reply_of(ROWS[:2]).replace(b'"index":1', b'"index":0'), "unreadable"),
        (reply_of(ROWS[:2, :7]), "dimension"),
        (reply_of([ROWS[0], ROWS[1] * np.nan]), "nan"),
        (reply_of([ROWS[0], ROWS[1] * np.nan], "base64"), "nan"),
        (reply_of([ROWS[0], ROWS[1] * 0]), "zero"),
        (reply_of([ROWS[0], ROWS[1] * 2]), "length"),
        (reply_of([ROWS[0], ROWS[1] + ROWS[0]]), "different"),
    ],
)
def test_each_class(reply: bytes, name: str) -> None:
    found = agreed(sampled(reply))
    assert found.classes == {name: 1}
    assert found.examples[name]


def test_a_reply_is_held_against_the_references_of_the_target_that_gave_it() -> None:
    both = np.stack([ROWS, ROWS[::-1]])
    two = PLAN.replace(base_url=("http://a:1", "http://b:2"))
    checker = Checker(CheckJob(two.to_dict(), [], BODIES, both.tobytes(), *both.shape, 1e-5))
    for target, vectors in ((0, ROWS[:2]), (1, ROWS[3:1:-1])):
        checker.hear(sampled(vectors)._replace(target=target))
    assert found_by(checker).wrong == 0
    checker.hear(sampled(ROWS[:2])._replace(target=1))
    found = found_by(checker)
    assert found.classes == {"swapped": 1}
    assert found.examples["swapped"].endswith(" from http://b:2")


def test_base64_is_read_too() -> None:
    assert agreed(sampled(reply_of(ROWS[:2], "base64")), encoding_format="base64").wrong == 0


def test_https_own_head_is_taken_off() -> None:
    body = reply_of(ROWS[:2])
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    found = agreed(*(Sampled(7, 0, 1, 0, True, whole) for whole in (head + body, chunked)))
    assert (found.sampled, found.wrong) == (2, 0)


def test_what_the_workers_did_not_take_is_added_up() -> None:
    checker = Checker(job([8, 9, 10]))  # the third dies before it can say so
    for record in (Sampled(TAIL, 1, 2, 3, False, b""), Sampled(TAIL, 10, 20, 30, False, b"")):
        checker.hear(record)
    found = found_by(checker, 3)
    assert (found.dropped, found.spared, found.spent_ns, found.sampled, found.unheard) == (11, 22, 33, 0, 1)


def test_an_example_without_a_reference() -> None:
    assert described(Compared(("", "nan"), 0, 0.0, 0.0), sampled(b"")) == "vector 2 of 2 with 2 in flight"


def test_references_that_came_as_nothing() -> None:
    checker = Checker(CheckJob(PLAN.to_dict(), [], {7: [0, 1]}, b"", 1, 2, 0, 1e-5))
    checker.hear(sampled(ROWS[:2]))
    found = found_by(checker)
    assert (found.sampled, found.wrong, found.compared) == (1, 0, 0)


def test_the_process_reads_until_every_pipe_is_closed() -> None:
    pipes = [os.pipe() for _ in range(2)]
    process = subprocess.Popen(
        [sys.executable, "-m", "clipload.integrity.checker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment(),
        pass_fds=[reading for reading, _ in pipes],
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(msgspec.msgpack.encode(job([reading for reading, _ in pipes])))
    process.stdin.close()
    process.stdin = None
    for number, (reading, writing) in enumerate(pipes):
        os.close(reading)
        os.write(writing, packed(sampled(ROWS[:2] * (1 - number))) + packed(Sampled(TAIL, number, 0, 0, False, b"")))
        os.close(writing)
    said, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, b"")
    found = Checked()
    for line in filter(None, said.splitlines()):
        found.add(msgspec.json.decode(line, type=Checked))
    assert sum(level.sampled for level in found.levels.values()) == 2
    assert (found.heard, found.dropped) == (2, 1)
    whole = found.agreement(Agreement(), 2)
    assert (whole.sampled, whole.classes, whole.unheard) == (2, {"zero": 1}, 0)


def test_the_process_says_what_it_found_while_it_listens_and_needs_nobody_who_hears_it() -> None:
    """A supervisor that is killed closes its end."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "clipload.integrity.checker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment(),
        pass_fds=[reading],
    )  # fmt: skip
    os.close(reading)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.msgpack.encode(job([reading])))
    process.stdin.close()
    process.stdin = None
    assert process.stdout.readline() == LISTENING
    time.sleep(1.1)
    os.write(writing, packed(sampled(ROWS[:2])))
    found = msgspec.json.decode(process.stdout.readline(), type=Checked)
    assert (found.compared, found.heard) == (2, 0)
    process.stdout.close()
    process.stdout = None
    os.close(writing)
    _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, b"")
