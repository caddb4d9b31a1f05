"""What the Samples of a Plan may not be. PlanError names the flag and the remedy."""

from __future__ import annotations

from clipload.errors import PlanError
from clipload.plan.schema import Fields
from clipload.plan.spec import flag_of

LISTED = ("folder", "jsonl")  # sources that --data names
LOWEST_DENSITY, HIGHEST_DENSITY = 0.001, 4.0  # bytes per pixel: noise has 3


def check_samples(plan: Fields) -> None:
    _check_data(plan)
    _check_texts(plan)
    _check_images(plan)
    if plan.unique:
        _check_unique(plan)


def _check_data(plan: Fields) -> None:
    if plan.data_source == "flickr8k":
        for name in ("flickr_images_dir", "flickr_captions_file"):
            if not getattr(plan, name):
                raise PlanError(
                    "is needed with --data-source flickr8k",
                    flag=flag_of(name),
                    remedy="name the dataset's folder and its Flickr8k.token.txt",
                )
    if plan.data_source in LISTED and not plan.data:
        remedy = "name the folder" if plan.data_source == "folder" else "name the file of JSON lines, or - for standard input"
        raise PlanError(f"is needed with --data-source {plan.data_source}", flag="--data", remedy=remedy)
    if plan.data_source not in LISTED and plan.data:
        remedy = "add --data-source folder or --data-source jsonl"
        raise PlanError(f"means nothing with --data-source {plan.data_source}", flag="--data", remedy=remedy)
    if plan.data_source == "folder" and plan.data == "-":
        raise PlanError(
            "no folder comes from standard input", flag="--data", remedy="name a folder, or use --data-source jsonl"
        )


def _check_texts(plan: Fields) -> None:
    if plan.text_share is not None:
        if plan.mode != "mixed":
            raise PlanError(f"means nothing with --mode {plan.mode}", flag="--text-share", remedy="add --mode mixed")
        if not 0 <= plan.text_share <= 1:
            raise PlanError(f"{plan.text_share:g} is no share", flag="--text-share", remedy="use a number from 0 to 1")
    if plan.text_tokens is not None:
        _random_only(plan, "text_tokens")
        if plan.mode == "image":
            raise PlanError("means nothing with --mode image", flag="--text-tokens", remedy="leave it out")


def _check_images(plan: Fields) -> None:
    optional = ("image_size", "image_quality", "bytes_per_pixel", "image_threads")
    asked = [name for name in optional if getattr(plan, name) is not None]
    if plan.image_kind != "noise":
        _random_only(plan, "image_kind")
        asked.append("image_kind")
    if asked and plan.mode == "text":
        raise PlanError("means nothing with --mode text", flag=flag_of(asked[0]), remedy="leave it out")
    if plan.bytes_per_pixel is not None:
        if plan.image_kind != "photo":
            raise PlanError("means nothing with noise", flag="--bytes-per-pixel", remedy="add --image-kind photo")
        if not LOWEST_DENSITY <= plan.bytes_per_pixel <= HIGHEST_DENSITY:
            remedy = f"use a number from {LOWEST_DENSITY:g} to {HIGHEST_DENSITY:g}; a photograph has 0.2 to 2"
            raise PlanError(f"{plan.bytes_per_pixel:g} cannot be", flag="--bytes-per-pixel", remedy=remedy)
    if plan.image_quality is not None:
        if plan.image_format not in ("jpeg", "webp"):
            remedy = "use --image-format jpeg or webp"
            raise PlanError(f"means nothing with --image-format {plan.image_format}", flag="--image-quality", remedy=remedy)
        if not 1 <= plan.image_quality <= 100:
            raise PlanError(f"{plan.image_quality} cannot be", flag="--image-quality", remedy="use 1 to 100")
    if plan.image_size is not None and plan.clip_variant != "base":
        raise PlanError("contradicts --clip-variant", flag="--image-size", remedy="give one of the two")
    if plan.image_format == "original" and plan.data_source == "random":
        remedy = "use png, jpeg or webp"
        raise PlanError("random images have no original", flag="--image-format", remedy=remedy)
    if plan.image_format == "original" and plan.image_size is not None:
        remedy = "name the format in which the scaled images are to be sent"
        raise PlanError("original images are not scaled", flag="--image-format", remedy=remedy)


def _random_only(plan: Fields, name: str) -> None:
    if plan.data_source != "random":
        what = f"means nothing with --data-source {plan.data_source}"
        raise PlanError(what, flag=flag_of(name), remedy="leave it out, or use --data-source random")


def _check_unique(plan: Fields) -> None:
    """How much will be sent must be known before, and what is sent must differ."""
    if plan.data_source == "random" and plan.mode != "image" and plan.text_tokens is None:
        remedy = "give --text-tokens, for texts that differ, or --mode image"
        raise PlanError("all random texts are one caption", flag="--unique", remedy=remedy)
    if not plan.open_loop and plan.num_samples is None:
        what = "a closed loop by duration sends as much as the server can take"
        raise PlanError(what, flag="--unique", remedy="give --num-samples, or an open loop")
    if not plan.open_loop and plan.warmup:
        what = "a closed loop's warm-up sends as much as the server can take"
        raise PlanError(what, flag="--unique", remedy="leave out --warmup, or use an open loop")
    if plan.warmup_requests:
        raise PlanError("--warmup-requests are all the same", flag="--unique", remedy="leave out one of the two")
