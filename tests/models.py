"""Checkpoints with random weights on the disk, in the layouts in which they are met."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipload.backends.checkpoints import load_random, random_tokenizer
from clipload.backends.libraries import transformers_quietly


def save_checkpoint(folder: Path, size: str = "tiny", seed: int = 5) -> Path:
    """As transformers of today saves it: model.safetensors, tokenizer.json, preprocessor_config.json."""
    loaded = load_random(size, seed)
    loaded.model.save_pretrained(folder)
    loaded.pixels.processor.save_pretrained(folder)
    random_tokenizer(transformers_quietly()).save_pretrained(folder)
    return folder


def to_hub_layout(folder: Path, side: int) -> Path:
    """As the hub's copies of CLIP have it: vocab.json and merges.txt alone, and the feature extractor's old name."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in tokenizer["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "processor_config.json"):
        (folder / name).unlink(missing_ok=True)
    old: dict[str, Any] = {
        "crop_size": side,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": side,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(old))
    return folder
