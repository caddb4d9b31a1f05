"""`clipload serve`: the reference server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from clipload.errors import PlanError

KEY_VARIABLE, MODEL_VARIABLE = "CLIPLOAD_SERVE_API_KEY", "CLIPLOAD_MODEL"


def serve(
    *,
    engine: Annotated[
        Literal["clip", "sim", "null"],
        Parameter(help="clip: a real model; sim: scripted times over real HTTP; null: answers at once, to measure the client."),
    ] = "clip",
    api: Annotated[
        Literal["v1", "openai", "infinity", "vllm"],
        Parameter(help="Who answers at /v1/embeddings: SGLang, OpenAI to the letter, Infinity, vLLM. /encode is SGLang's."),
    ] = "v1",
    host: Annotated[
        str | None, Parameter(help="Address to listen on; the default is reached from this machine only. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on; 0 picks a free one. [default: 30000]")] = None,
    unix: Annotated[str | None, Parameter(help="Listen on this Unix socket instead of host and port.")] = None,
    tls_cert: Annotated[str | None, Parameter(help="Speak TLS with this certificate (PEM, may hold its key).")] = None,
    tls_key: Annotated[str | None, Parameter(help="The key of --tls-cert (PEM), without a password.")] = None,
    tls_client_ca: Annotated[
        str | None, Parameter(help="Talk only to clients with a certificate of these authorities (PEM).")
    ] = None,
    served_model_name: Annotated[str | None, Parameter(help="Model name in /v1/models and replies.")] = None,
    keep_alive: Annotated[str, Parameter(help="Idle time after which a connection is closed (SGLang: 5s).")] = "5s",
    cores: Annotated[str | None, Parameter(help="Cores to run on, such as 0,2-3.")] = None,
    seed: Annotated[int, Parameter(help="Seed of random weights, service times, errors and resets.")] = 0,
    api_key_file: Annotated[
        Path | None,
        Parameter(help=f"File with the key that clients must send; or set {KEY_VARIABLE}. A key is never an argument."),
    ] = None,
    model: Annotated[
        Path | None,
        Parameter(help=f"clip: model directory (also {MODEL_VARIABLE}); without one the weights are random."),
    ] = None,
    size: Annotated[
        Literal["b32", "tiny"] | None, Parameter(help="clip: architecture of the random weights. [default: b32]")
    ] = None,
    backend: Annotated[
        Literal["torch", "openvino", "ipex", "auto"] | None,
        Parameter(help="clip: what computes, as in clipload embed; auto: of torch and openvino the faster. [default: torch]"),
    ] = None,
    amp: Annotated[
        Literal["off", "parity", "auto", "bf16"] | None,
        Parameter(
            help="clip: off is fp32; parity is bf16 in as much as leaves the vectors those of fp32; auto is bf16 where the CPU "
            "computes it natively. [default: off]"
        ),
    ] = None,
    openvino_cache: Annotated[
        Path | None, Parameter(help="clip, openvino or auto: keep the converted model in this folder, for the next start.")
    ] = None,
    device: Annotated[
        str | None, Parameter(help="clip: cpu, cuda, cuda:N, or auto: a GPU where there is one. [default: cpu]")
    ] = None,
    max_batch: Annotated[int | None, Parameter(help="clip: most items in one pass of the model. [default: 32]")] = None,
    threads: Annotated[int | None, Parameter(help="clip: threads of the model. [default: one for each core]")] = None,
    law: Annotated[
        str | None,
        Parameter(help="sim: constant(5ms), exp(8ms) or batch(8ms+0.5ms*n, max=64). [default: constant(5ms)]"),
    ] = None,
    servers: Annotated[
        int | None, Parameter(help="sim: how many requests (or batches) are served at once. [default: 1]")
    ] = None,
    stall: Annotated[
        tuple[str, ...],
        Parameter(
            help="sim: at=10s,for=1s: no departures in that second, counted from the first request; at=start+10s,… from "
            "the server's start. May be given several times.",
            negative=(),
        ),
    ] = (),
    lie: Annotated[
        Literal["ignore-images", "leak", "swap", "nan", "radix", "die-on-mixed", "cache"] | None,
        Parameter(help="sim: answer 200 with wrong vectors, die, or have ready what was asked before; to try what tells."),
    ] = None,
    error_rate: Annotated[float | None, Parameter(help="sim, clip: share of requests answered 500 at once.")] = None,
    reset_rate: Annotated[float | None, Parameter(help="sim, clip: share of connections cut instead of an answer.")] = None,
    max_queue: Annotated[int | None, Parameter(help="sim, clip: requests that may wait; one more is answered 503.")] = None,
    open_images: Annotated[
        bool | None,
        Parameter(help="clip, sim: open images sent by path or URL, as SGLang does; for whoever may connect.", negative=()),
    ] = None,
    dim: Annotated[int | None, Parameter(help="sim, null: length of the vectors. [default: 512]")] = None,
    items: Annotated[int | None, Parameter(help="null: vectors per reply. [default: as many as the body has items]")] = None,
    enable_metrics: Annotated[
        bool | None, Parameter(help="sim, clip: serve /metrics under SGLang's names. [default: 404, as SGLang]", negative=())
    ] = None,
    stamps: Annotated[
        Path | None,
        Parameter(help="sim: write when each request arrived, started, departed and was answered to this .npy at the end."),
    ] = None,
) -> int:
    """Serve CLIP embeddings as SGLang does (/v1/embeddings, /encode), for trials and tests without a GPU.

    Prints one line when it accepts connections; SIGTERM and SIGINT stop it.
    """
    from clipload.server import ServerOptions, run_server

    if model is None and engine == "clip" and size is None and os.environ.get(MODEL_VARIABLE):
        model = Path(os.environ[MODEL_VARIABLE])
    options = ServerOptions(
        engine=engine,
        api=api,
        host=host,
        port=port,
        unix=unix,
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        served_model_name=served_model_name,
        keep_alive=keep_alive,
        cores=cores,
        seed=seed,
        api_key=_api_key(api_key_file),
        model_dir=model,
        size=size,
        backend=backend,
        amp=amp,
        device=device,
        openvino_cache=openvino_cache,
        max_batch=max_batch,
        threads=threads,
        law=law,
        servers=servers,
        stall=stall,
        lie=lie,
        error_rate=error_rate,
        reset_rate=reset_rate,
        max_queue=max_queue,
        open_images=open_images,
        dim=dim,
        items=items,
        enable_metrics=enable_metrics,
        stamps=stamps,
    )
    return run_server(options, lambda line: print(line, flush=True))


def _api_key(file: Path | None) -> str | None:
    """The key from the file, else from the environment; an empty one is a mistake, not an open door."""
    if file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        key = file.read_text().strip()
    except OSError as error:
        raise PlanError(f"cannot read {file}: {error.strerror}", flag="--api-key-file", remedy="name a readable file") from None
    if not key:
        raise PlanError(f"{file} is empty", flag="--api-key-file", remedy="write the key into it, on one line")
    return key
