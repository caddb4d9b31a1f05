"""Who the target is: what its documents tell, and nothing of them that was not asked for. Pure.

Law: a fact gets into an Identity by standing in `FACTS`, so a secret that a server prints goes no further: SGLang's
/server_info holds its keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Documents = Mapping[str, Any]
"""Path → the JSON that stood there; a path that gave none is missing."""

MODEL_INFO = ("/model_info", "/get_model_info")  # the new name first: the old one is deprecated, or the only one there is
SERVER_INFO = ("/server_info", "/get_server_info")
MODELS, VERSION, OPENAPI = "/v1/models", "/version", "/v1/openapi.json"  # the last: Infinity's
BARE = "/models"  # Infinity's without --url-prefix /v1

FACTS = (
    *("model_path", "served_model_name", "model_type", "architectures", "dtype", "quantization", "device"),
    *("tp_size", "dp_size", "tokenizer_worker_num", "attention_backend", "disable_radix_cache"),
    *("max_running_requests", "prefill_max_requests", "max_queued_requests", "max_req_input_len", "max_total_num_tokens"),
    *("enable_metrics", "enable_tokenizer_batch_encode", "allow_auto_truncate", "chat_template", "random_weights"),
)
NAMES = {"sglang": "SGLang", "infinity": "Infinity", "vllm": "vLLM"}  # who /v1/models says owns its models
REFERENCE = "clipload serve"
LONGEST = 200  # characters of a fact

Release = tuple[int, int, int, int]
_RELEASE = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:\.post(\d+))?")


@dataclass(frozen=True, slots=True)
class Identity:
    """`name` and `version` are "" when they are not known; `engine` is the reference server's."""

    name: str = ""
    version: str = ""
    engine: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def release(self) -> Release | None:
        """SGLang's version to compare with; None when it is none that was published."""
        match = _RELEASE.match(self.version) if self.name == NAMES["sglang"] else None
        if match is None or match.group(1, 2, 3) == ("0", "0", "0"):
            return None
        return int(match[1]), int(match[2]), int(match[3]), int(match[4] or 0)

    @property
    def batches_requests(self) -> bool:
        """Whether requests can meet in one forward pass of SGLang's, where they are not kept apart."""
        limits = (self.facts.get("prefill_max_requests"), self.facts.get("max_running_requests"))
        return self.name == NAMES["sglang"] and 1 not in limits

    def __str__(self) -> str:
        return " ".join(filter(None, [self.name or "a server that does not say its name", self.version]))


def identify(documents: Documents) -> Identity:
    """What the documents tell; of several that tell one fact, the server's own goes before the model's."""
    model, server = (_first(documents, paths) for paths in (MODEL_INFO, SERVER_INFO))
    told = {**_model_facts(model), **_facts(server)}
    version = _text(server.get("version"))
    if version.startswith("clipload "):
        return Identity(REFERENCE, version.partition(" ")[2], _text(server.get("engine")), told)
    card = _card(documents)
    owner = _text(card.get("owned_by")).lower()
    name = NAMES.get(owner, NAMES["sglang"] if "is_generation" in model else "")
    told.setdefault("served_model_name", _text(card.get("id")))
    if MODELS not in documents and BARE in documents:
        told["prefix"] = "none"
    version = version or _text(_object(documents.get(VERSION)).get("version"))
    version = version or _text(_object(_object(documents.get(OPENAPI)).get("info")).get("version"))
    return Identity(name, version, "", {name: value for name, value in told.items() if value != ""})


def _facts(document: Mapping[str, Any]) -> dict[str, Any]:
    """Long texts (a chat template) are cut."""
    found = {name: document[name] for name in FACTS if document.get(name) is not None}
    return {name: value[:LONGEST] if isinstance(value, str) else value for name, value in found.items()}


def _model_facts(model: Mapping[str, Any]) -> dict[str, Any]:
    facts = _facts(model)
    disabled = _object(_object(model.get("embedding")).get("cache")).get("radix_cache_disabled")
    return facts if disabled is None else facts | {"disable_radix_cache": disabled}


def _first(documents: Documents, paths: tuple[str, ...]) -> Mapping[str, Any]:
    return next((documents[path] for path in paths if isinstance(documents.get(path), dict)), {})


def _card(documents: Documents) -> Mapping[str, Any]:
    cards = _object(documents.get(MODELS, documents.get(BARE))).get("data")
    return _object(cards[0]) if isinstance(cards, list) and cards else {}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
