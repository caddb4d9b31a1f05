"""A CLIP model with its tokenizer and image processor: read from a directory, or built here with random weights.

Random weights have the real architecture, so they cost what the real model costs; their vectors mean nothing, but are a
function of (seed, item). torch and transformers are imported here, when called, and nowhere else in the server.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clipload.errors import CliploadError
from clipload.server.engines.vocabulary import BOS, EOS, VOCABULARY_SIZE, build_vocabulary

log = logging.getLogger(__name__)

CONTEXT: Final = 77
SPREAD: Final = 3.0  # random weights this much larger give vectors that differ clearly
TINY: Final = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2}
SIZES: Final[dict[str, tuple[dict[str, int], dict[str, int], int]]] = {
    # text tower, vision tower, projection; ViT-B/32 is transformers' default
    "b32": ({}, {"image_size": 224, "patch_size": 32}, 512),
    "tiny": (TINY, TINY | {"image_size": 32, "patch_size": 16}, 32),
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """`tokenizer` is the Rust one behind transformers': it neither pads nor truncates, and threads may share it."""

    name: str
    model: Any
    tokenizer: Any
    processor: Any
    eos: int
    context: int


def load(model_dir: Path | None, size: str, seed: int) -> Loaded:
    """From `model_dir`, else random of `size`. CliploadError when torch, transformers or a part of the model is missing."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import torch
        from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        torch_first = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
        remedy = f"{torch_first} (or a CUDA build), then pip install '.[local]'; or do without a model: --engine sim"
        raise CliploadError(
            f"a CLIP model needs torch and transformers: {error}", flag="--engine clip", remedy=remedy
        ) from None
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.manual_seed(seed)
    if model_dir is not None:
        return _from_directory(model_dir, CLIPModel, CLIPTokenizer, CLIPImageProcessorPil)
    text, vision, projection = SIZES[size]
    text_config = text | {"vocab_size": VOCABULARY_SIZE, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": EOS}
    parts = {
        "text_config": text_config | {"projection_dim": projection},
        "vision_config": vision | {"projection_dim": projection},
    }
    model = CLIPModel(CLIPConfig(projection_dim=projection, **parts)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(SPREAD)
    vocabulary, merges = build_vocabulary()
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT)
    side = vision["image_size"]
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    log.warning("clipload: the weights are random (%s, seed %d): vectors are repeatable, but mean nothing", size, seed)
    return Loaded(f"clipload/random-clip-{size}", model, _bare(tokenizer), processor, EOS, CONTEXT)


def _from_directory(directory: Path, model_class: Any, tokenizer_class: Any, processor_class: Any) -> Loaded:
    try:
        model = model_class.from_pretrained(directory, local_files_only=True).float().eval()
        tokenizer = tokenizer_class.from_pretrained(directory, local_files_only=True)
        processor = processor_class.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        remedy = "it needs config.json, the weights, tokenizer files and preprocessor_config.json of a CLIP model"
        raise CliploadError(f"cannot load {directory}: {error}", flag="--model", remedy=remedy) from None
    context = model.config.text_config.max_position_embeddings
    return Loaded(str(directory), model, _bare(tokenizer), processor, tokenizer.eos_token_id, context)


def _bare(tokenizer: Any) -> Any:
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return backend
