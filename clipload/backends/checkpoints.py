"""A CLIP model with its tokenizer and image processor: read from a directory, or built here with random weights.

Random weights have the real architecture, so they cost what the real model costs; their vectors mean nothing, but are a
function of (seed, item). torch and transformers are imported here, when called.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clipload.backends.libraries import transformers_quietly
from clipload.backends.pixels import Pixels
from clipload.backends.vocabulary import BOS, EOS, VOCABULARY_SIZE, build_vocabulary
from clipload.errors import CliploadError

log = logging.getLogger(__name__)

CONTEXT: Final = 77
SPREAD: Final = 3.0  # random weights this much larger give vectors that differ clearly
TINY: Final = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2}
L14_TEXT: Final = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
L14_VISION: Final = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24}
SIZES: Final[dict[str, tuple[dict[str, int], dict[str, int], int]]] = {
    # text tower, vision tower, projection; ViT-B/32 is transformers' default
    "b32": ({}, {"image_size": 224, "patch_size": 32}, 512),
    "l14-336": (L14_TEXT, L14_VISION | {"image_size": 336, "patch_size": 14}, 768),
    "tiny": (TINY, TINY | {"image_size": 32, "patch_size": 16}, 32),
}
RANDOM: Final = "clipload/random-clip-"  # and a size: the name of a model with random weights
NEEDS: Final = "config.json, the weights, tokenizer files and preprocessor_config.json of a CLIP model"


@dataclass(frozen=True, slots=True)
class Loaded:
    """`tokenizer` is the Rust one behind transformers': it neither pads nor truncates, and threads may share it."""

    name: str
    model: Any
    tokenizer: Any
    pixels: Pixels
    eos: int
    context: int
    dim: int
    side: int

    def weights_digest(self) -> str:
        """SHA-256 of all parameters, whatever file they came from."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy())
        return digest.hexdigest()


def load_random(size: str, seed: int) -> Loaded:
    transformers = transformers_quietly()
    import torch

    torch.manual_seed(seed)
    text, vision, projection = SIZES[size]
    text_config = text | {"vocab_size": VOCABULARY_SIZE, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": EOS}
    parts = {
        "text_config": text_config | {"projection_dim": projection},
        "vision_config": vision | {"projection_dim": projection},
    }
    model = transformers.CLIPModel(transformers.CLIPConfig(projection_dim=projection, **parts)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(SPREAD)
    side = vision["image_size"]
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    pixels = Pixels(_processor(transformers)(**sizes))
    log.warning("clipload: the weights are random (%s, seed %d): vectors are repeatable, but mean nothing", size, seed)
    return Loaded(f"{RANDOM}{size}", model, _bare(random_tokenizer(transformers)), pixels, EOS, CONTEXT, projection, side)


def random_tokenizer(transformers: Any) -> Any:
    """With version 5's spelling; version 4 knows only files, whose flags version 5 takes in silence, for two tokens in all."""
    vocabulary, merges = build_vocabulary()
    if int(transformers.__version__.partition(".")[0]) >= 5:
        return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        files[0].write_text(json.dumps(vocabulary), encoding="utf-8")
        files[1].write_text("\n".join(["#version: 0.2", *map(" ".join, merges)]), encoding="utf-8")
        return transformers.CLIPTokenizerFast(*map(str, files), model_max_length=CONTEXT)


def load_directory(directory: Path, name: str = "") -> Loaded:
    """A checkpoint in the hub's layout, without the network. CliploadError when it is not CLIP's, or not whole."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    check_config(directory)
    transformers = transformers_quietly()
    from safetensors import SafetensorError  # no subclass of any other

    try:
        model, report = transformers.CLIPModel.from_pretrained(directory, local_files_only=True, output_loading_info=True)
        tokenizer = transformers.CLIPTokenizerFast.from_pretrained(directory, local_files_only=True)
        pixels = Pixels(_processor(transformers).from_pretrained(directory, local_files_only=True))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise CliploadError(f"cannot load {directory}: {error}", flag="--model", remedy=f"it needs {NEEDS}") from None
    missing = sorted(report["missing_keys"])  # transformers would fill them with random numbers
    if missing:
        what = f"the weights in {directory} lack {len(missing)} of CLIP's parameters, such as {missing[0]}"
        raise CliploadError(what, flag="--model", remedy="name a whole checkpoint")
    text = model.config.text_config
    if len(tokenizer) > text.vocab_size or tokenizer("dog")["input_ids"] == tokenizer("cat")["input_ids"]:
        what = f"the tokenizer in {directory} ({len(tokenizer)} tokens) does not fit its model ({text.vocab_size})"
        raise CliploadError(what, flag="--model", remedy="it needs tokenizer.json, or vocab.json and merges.txt")
    bare = _bare(tokenizer)
    dim, side = model.config.projection_dim, model.config.vision_config.image_size
    eos, context = tokenizer.eos_token_id, text.max_position_embeddings
    return Loaded(name or str(directory), model.float().eval(), bare, pixels, eos, context, dim, side)


def check_config(directory: Path) -> None:
    """CliploadError unless its config.json says that it is CLIP."""
    try:
        kind = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("model_type", "unnamed")
    except (OSError, ValueError, AttributeError) as error:
        raise CliploadError(
            f"cannot read {directory}/config.json: {error}", flag="--model", remedy=f"it needs {NEEDS}"
        ) from None
    if kind != "clip":
        remedy = "name a CLIP model, such as a copy of openai/clip-vit-base-patch32"
        raise CliploadError(f"{directory} holds a model of type {kind!r}, not 'clip'", flag="--model", remedy=remedy)


def _processor(transformers: Any) -> Any:
    """The one that computes with Pillow, under its name of version 5 or 4: the other needs torchvision."""
    return getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor


def _bare(tokenizer: Any) -> Any:
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return backend
