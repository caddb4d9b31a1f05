"""Flags of the server: what they mean, and that each mistake names its flag and a remedy that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipload.errors import HostError, PlanError
from clipload.server import ServerOptions, run_server
from clipload.server.faults import Calendar, Lottery, Stall, parse_stall
from clipload.server.laws import Batch, Constant, Exponential, parse_law
from tests.certificates import certificates

MS = 10**6
PEM = certificates()


def test_laws_read_as_they_are_written() -> None:
    assert parse_law("constant(5ms)") == Constant(5 * MS)
    assert parse_law(" exp( 1.5ms ) ") == Exponential(1_500_000)
    assert parse_law("batch(8ms + 0.5ms*n, max=64)") == Batch(8 * MS, MS // 2, 64)
    draws = np.random.default_rng(0)
    assert parse_law("batch(8ms+0.5ms*n,max=64)").draw_ns(4, draws) == 10 * MS
    drawn = [parse_law("exp(8ms)").draw_ns(1, draws) for _ in range(20_000)]
    assert np.mean(drawn) == pytest.approx(8 * MS, rel=0.03)
    assert np.std(drawn) == pytest.approx(8 * MS, rel=0.05)


def test_stalls_read_as_they_are_written() -> None:
    assert parse_stall("at=10s,for=1s") == Stall(10_000 * MS, 1_000 * MS)
    assert parse_stall("at=start+1.5s, for=20ms") == Stall(1_500 * MS, 20 * MS, from_start=True)
    calendar = Calendar.of((Stall(10, 5), Stall(7, 1, from_start=True)), server_start_ns=100, first_request_ns=1000)
    assert [calendar.start(at) for at in (106, 107, 108, 1009, 1010, 1014, 1015)] == [106, 108, 108, 1009, 1015, 1015, 1015]
    assert calendar.finish(1005, 5) == 1015  # a departure at the stall's first instant waits for its end
    assert calendar.finish(1005, 7) == 1017


def test_fates_have_their_rates_and_the_draws_are_shared() -> None:
    both = Lottery(3, 0.1, 0.2)
    fates = [both.draw() for _ in range(20_000)]
    assert fates.count("error") / len(fates) == pytest.approx(0.1, abs=0.01)
    assert fates.count("reset") / len(fates) == pytest.approx(0.2, abs=0.01)
    errors = Lottery(3, 0.1, 0)
    assert [fate == "error" for fate in fates] == [errors.draw() == "error" for _ in fates]
    assert {Lottery(1, 1, 0).draw(), Lottery(1, 0, 1).draw(), Lottery(1, 0, 0).draw()} == {"error", "reset", "none"}


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        ({"engine": "vllm"}, "--engine"),
        ({"api": "native"}, "--api"),  # has a path of its own
        ({"engine": "null", "enable_metrics": True}, "--enable-metrics"),
        ({"engine": "null", "stamps": Path("s.npy")}, "--stamps"),
        ({"port": 70_000}, "--port"),
        ({"seed": -1}, "--seed"),
        ({"engine": "sim", "law": "constant(5)x"}, "--law"),
        ({"engine": "sim", "law": "constant(5 apples)"}, "--law"),
        ({"engine": "sim", "law": "batch(1ms+1ms*n,max=0)"}, "--law"),
        ({"engine": "sim", "stall": ("10s",)}, "--stall"),
        ({"engine": "sim", "stall": ("at=10s,for=0s",)}, "--stall"),
        ({"engine": "sim", "stall": ("at=soon,for=1s",)}, "--stall"),
        ({"engine": "sim", "servers": 0}, "--servers"),
        ({"engine": "sim", "error_rate": 1.5}, "--error-rate"),
        ({"engine": "sim", "error_rate": 0.6, "reset_rate": 0.6}, "--error-rate"),
        ({"engine": "sim", "max_queue": -1}, "--max-queue"),
        ({"engine": "sim", "items": 2}, "--items"),
        ({"engine": "sim", "model_dir": Path("/")}, "--model"),
        ({"engine": "null", "error_rate": 0.1}, "--error-rate"),
        ({"engine": "null", "open_images": True}, "--open-images"),
        ({"engine": "clip", "stall": ("at=1s,for=1s",)}, "--stall"),
        ({"engine": "clip", "lie": "leak"}, "--lie"),
        ({"engine": "sim", "lie": "white"}, "--lie"),
        ({"engine": "clip", "model_dir": Path("/no/such/model")}, "--model"),
        ({"engine": "clip", "model_dir": Path("/"), "size": "tiny"}, "--size"),
        ({"engine": "clip", "size": "huge"}, "--size"),
        ({"engine": "clip", "backend": "remote"}, "--backend"),
        ({"engine": "clip", "amp": "fp16"}, "--amp"),
        ({"engine": "sim", "backend": "auto"}, "--backend"),
        ({"engine": "clip", "device": "gpu"}, "--device"),
        ({"engine": "clip", "device": "cuda", "backend": "openvino"}, "--device"),
        ({"engine": "sim", "device": "cuda"}, "--device"),
        ({"engine": "clip", "openvino_cache": Path("c")}, "--openvino-cache"),
        ({"engine": "clip", "backend": "ipex", "openvino_cache": Path("c")}, "--openvino-cache"),
        ({"engine": "sim", "backend": None, "openvino_cache": Path("c")}, "--openvino-cache"),
        ({"engine": "null", "amp": "bf16"}, "--amp"),
        ({"keep_alive": "0s"}, "--keep-alive"),
        ({"keep_alive": "soon"}, "--keep-alive"),
        ({"cores": "3-1"}, "--cores"),
        ({"unix": "/tmp/s", "port": 1}, "--port"),
        ({"unix": "/tmp/s", "host": "127.0.0.1"}, "--host"),
        ({"unix": ""}, "--unix"),
        ({"unix": "/" + 107 * "s"}, "--unix"),
        ({"unix": "/tmp/s", "tls_cert": "x"}, "--tls-cert"),
        ({"tls_key": "x"}, "--tls-key"),
        ({"tls_client_ca": "x"}, "--tls-client-ca"),
        ({"tls_cert": "/no/such/file"}, "--tls-cert"),
        ({"tls_cert": str(PEM.client_key)}, "--tls-cert"),
        ({"tls_cert": str(PEM.client_cert)}, "--tls-key"),
        ({"tls_cert": str(PEM.client_cert), "tls_key": str(PEM.locked_key)}, "--tls-key"),
        ({"tls_cert": str(PEM.server), "tls_client_ca": __file__}, "--tls-client-ca"),
    ],
)
def test_a_mistake_names_its_flag_and_the_remedy(flags: dict[str, Any], flag: str) -> None:
    with pytest.raises(PlanError) as caught:
        ServerOptions(**flags)
    assert caught.value.flag == flag
    assert caught.value.remedy
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("flags", "flag"), [({"host": "no such host"}, "--host"), ({"host": "192.0.2.1"}, "--host")])
def test_an_address_that_cannot_be_had_is_named(flags: dict[str, Any], flag: str) -> None:
    with pytest.raises(HostError) as caught:
        run_server(ServerOptions(engine="null", port=0, **flags), print)
    assert caught.value.flag == flag


def test_stamps_that_cannot_be_written_are_a_mistake_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        run_server(ServerOptions(engine="sim", port=0, stamps=tmp_path / "none" / "s.npy"), pytest.fail)
    assert (caught.value.flag, caught.value.exit_code) == ("--stamps", 2)


def test_a_key_does_not_show() -> None:
    assert "sesame" not in repr(ServerOptions(api_key="sesame"))
