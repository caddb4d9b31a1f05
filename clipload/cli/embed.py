"""`clipload embed`: texts and images to vectors in a file, and the verification of such files."""

from __future__ import annotations

import json as json_format
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from clipload.cli.flags import ASKING, TARGET_GROUP, add_parameters, asking_from, read_credentials
from clipload.credentials import Credentials
from clipload.embedding import embed as embed_all
from clipload.embedding.options import LOCAL, EmbeddingOptions, truth
from clipload.errors import EXIT_INTERRUPTED, EXIT_OK, PlanError
from clipload.plan import Plan, flag_of
from clipload.reports import embedding as report
from clipload.verification import verify as verify_dumps

MODEL_VARIABLE = "CLIPLOAD_MODEL"
_SAMPLES, _MACHINE, _OUTPUT = Group("Samples", sort_key=1), Group("Model and machine", sort_key=2), Group("Output", sort_key=3)
_SWITCH = {"negative": ()}


def embed(
    *,
    data_source: Annotated[
        str | None,
        Parameter(
            help="flickr8k, folder, jsonl or random; without it, what --data or the Flickr8k flags name.", group=_SAMPLES
        ),
    ] = None,
    data: Annotated[
        str | None,
        Parameter(help="A folder, a JSONL file, or - for JSON lines on stdin.", group=_SAMPLES, allow_leading_hyphen=True),
    ] = None,
    flickr_images_dir: Annotated[Path | None, Parameter(help="Flickr8k's folder of images.", group=_SAMPLES)] = None,
    flickr_captions_file: Annotated[Path | None, Parameter(help="Flickr8k.token.txt.", group=_SAMPLES)] = None,
    flickr_caption_pick: Annotated[
        Literal["first", "random"], Parameter(help="Which captions, when --captions-per-image leaves some out.", group=_SAMPLES)
    ] = "first",
    captions_per_image: Annotated[
        int | None,
        Parameter(
            help="Captions of each Flickr8k image; to --verify dumps without names: in the dump. [default: all]", group=_SAMPLES
        ),
    ] = None,
    modality: Annotated[Literal["both", "text", "image"], Parameter(help="What is embedded.", group=_SAMPLES)] = "both",
    max_samples: Annotated[
        int | None, Parameter(help="At most so many images (or texts, alone), the first by name.", group=_SAMPLES)
    ] = None,
    seed: Annotated[
        int, Parameter(help="Seed of --flickr-caption-pick random, noise images and random weights.", group=_SAMPLES)
    ] = 0,
    strict: Annotated[
        bool, Parameter(help="A missing or broken image is an error, not passed over.", group=_SAMPLES, negative=())
    ] = False,
    backend: Annotated[
        str,
        Parameter(
            help="torch (also clip), openvino, ipex, auto (of torch and openvino the faster one here), remote, or one that a "
            "package offers.",
            group=_MACHINE,
        ),
    ] = "torch",
    model: Annotated[
        str | None,
        Parameter(
            help=f"Directory, name on the hub, or clipload/random-clip-b32|l14-336|tiny (also {MODEL_VARIABLE}); remote: the "
            "`model` field of each request.",
            group=_MACHINE,
        ),
    ] = None,
    device: Annotated[str, Parameter(help="cpu, cuda, cuda:N, or auto: a GPU where there is one.", group=_MACHINE)] = "cpu",
    amp: Annotated[
        Literal["off", "parity", "auto", "bf16", "fp16"],
        Parameter(
            help="Precision: off is fp32; parity is bf16 in as much as leaves the vectors those of fp32 (cosine >= 0.99999 for "
            "probes; CPU); auto is bf16 where the device computes it natively.",
            group=_MACHINE,
        ),
    ] = "off",
    amx: Annotated[
        Literal["auto", "on", "off"],
        Parameter(help="oneDNN's instruction sets: at most AMX, at most AVX512 bf16, or as found.", group=_MACHINE),
    ] = "auto",
    use_ipex: Annotated[
        str | None, Parameter(help="True: Intel's extension or an error. False: never.", group=_MACHINE)
    ] = None,
    compile: Annotated[  # noqa: A002  - the flag's name
        bool,
        Parameter(
            help="torch.compile: half a minute first; pays for thousands of texts, not for images.", group=_MACHINE, negative=()
        ),
    ] = False,
    batch_size: Annotated[
        str,
        Parameter(help="Items in one pass; auto tries some, as memory allows, and takes the fastest.", group=_MACHINE),
    ] = "auto",
    num_threads: Annotated[int | None, Parameter(help="torch's threads. [default: torch's own choice]", group=_MACHINE)] = None,
    force: Annotated[bool, Parameter(help="Take --amp fp16 on a CPU that has no fp16.", group=_MACHINE, negative=())] = False,
    openvino_cache: Annotated[
        Path | None,
        Parameter(help="openvino, auto: keep the converted model in this folder, for the next time.", group=_MACHINE),
    ] = None,
    normalize: Annotated[
        bool, Parameter(help="Vectors of unit length instead of the model's own.", group=_OUTPUT, negative=())
    ] = False,
    dump_txt_emb: Annotated[
        Path | None, Parameter(help="Text vectors: .pt, .npy, .safetensors or .parquet.", group=_OUTPUT)
    ] = None,
    dump_img_emb: Annotated[Path | None, Parameter(help="Image vectors, likewise.", group=_OUTPUT)] = None,
    overwrite: Annotated[
        bool, Parameter(help="Replace dumps of another model, dataset or precision.", group=_OUTPUT, negative=())
    ] = False,
    verify: Annotated[
        bool,
        Parameter(
            help="Check the dumps (finite, norms, duplicates, Recall@1/5/10); without a source, those that are there.",
            group=_OUTPUT,
            negative=(),
        ),
    ] = False,
    json: Annotated[
        bool, Parameter(help="The result as JSON on stdout; the text goes to stderr.", group=_OUTPUT, negative=())
    ] = False,
    api_key_file: Annotated[
        Path | None, Parameter(help="File with the target's key. Else CLIPLOAD_API_KEY is used.", group=TARGET_GROUP)
    ] = None,
    secret_header_file: Annotated[
        Path | None, Parameter(help="File of headers that hold secrets, a line each: Name: value.", group=TARGET_GROUP)
    ] = None,
    **flags: Any,
) -> int:
    """Embed texts and images with a local model, or a server's, and save the vectors. A killed command goes on where it was."""
    target, credentials = _asked(backend, flags, api_key_file, secret_header_file)
    options = EmbeddingOptions(
        data_source=data_source,
        data=data,
        flickr_images_dir=flickr_images_dir,
        flickr_captions_file=flickr_captions_file,
        flickr_caption_pick=flickr_caption_pick,
        captions_per_image=captions_per_image,
        modality=modality,
        max_samples=max_samples,
        seed=seed,
        strict=strict,
        backend=backend,
        model=model or os.environ.get(MODEL_VARIABLE, ""),
        device=device,
        amp=amp,
        amx=amx,
        use_ipex=truth(use_ipex),
        compiled=compile,
        batch_size=batch_size,
        num_threads=num_threads,
        force=force,
        openvino_cache=openvino_cache,
        normalize=normalize,
        dump_txt_emb=dump_txt_emb,
        dump_img_emb=dump_img_emb,
        overwrite=overwrite,
        verify=verify,
        target=target,
        credentials=credentials,
    )
    return perform(options, json=json)


def _asked(
    backend: str, flags: Mapping[str, Any], key_file: Path | None, header_file: Path | None
) -> tuple[Plan | None, Credentials]:
    """The target of a backend that may ask one. PlanError names the flag of a target that a local model has no use for."""
    given = [name for name in ASKING if flags.get(name) is not None]
    given += [name for name, file in (("api_key_file", key_file), ("secret_header_file", header_file)) if file is not None]
    if backend in LOCAL:
        if given:
            remedy = "use --backend remote, or leave it out"
            raise PlanError(f"--backend {backend} asks no server", flag=flag_of(given[0]), remedy=remedy)
        return None, Credentials()
    target = asking_from(flags)
    return target, read_credentials(target, key_file, header_file)


def perform(options: EmbeddingOptions, *, json: bool = False) -> int:
    """Embeds, verifies, or both; the exit code."""
    done = None
    if not options.only_verifies:
        try:
            with report.progress() as view:
                done = embed_all(options, view)
        except KeyboardInterrupt:
            print("clipload: interrupted; the same command goes on with what is in the .part file", file=sys.stderr)
            return EXIT_INTERRUPTED
    found = verify_dumps(options) if options.verify else None
    text = [report.summary(done)] if done else []
    text += [report.verification_text(found)] if found else []
    print("\n".join(text), file=sys.stderr if json else sys.stdout)
    if json:
        print(json_format.dumps(report.document(done, found)))
    return found.exit_code if found else EXIT_OK


add_parameters(embed, ASKING)
