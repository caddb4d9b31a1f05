"""What is known of servers of CLIP, by version and by flag: the fault, the workaround, and what the workaround costs.

A fault that a probe can show is judged by the probe, whatever the version says: builds are patched. What stands here then
explains the probe's answer, or warns where nothing could be probed. A new one is a line of `KNOWN`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clipload.preflight import needs
from clipload.preflight.identity import Identity, Release
from clipload.preflight.needs import Need

LAST: Release = (0, 5, 23, 0)  # the newest that was read; of a newer one nothing is claimed
FIRST: Release = (0, 0, 0, 0)

ONE_AT_A_TIME = (
    "start it with --prefill-max-requests 1 (or --max-running-requests 1): right and stable, at the price of batching, "
    "so figures are those of one request at a time"
)


@dataclass(frozen=True, slots=True)
class Known:
    """`settles`: the name of the probe that shows whether this very server has the fault; "" when none can. `not_with`: the
    `--api` that it does not concern."""

    name: str
    has: Callable[[Identity], bool]
    what: str
    remedy: str
    need: Need
    settles: str = ""
    not_with: str = ""

    def concerns(self, who: Identity, api: str) -> bool:
        """Whether it is a fault of this server, spoken to so."""
        return self.has(who) and (not self.not_with or api != self.not_with)


def since(first: Release, last: Release = LAST) -> Callable[[Identity], bool]:
    """A release from `first` to `last`, both included."""
    return lambda who: who.release is not None and first <= who.release <= last


def batching(first: Release) -> Callable[[Identity], bool]:
    """Such a release, unless it takes one request at a time."""
    return lambda who: since(first)(who) and who.batches_requests


def says(name: str, value: object) -> Callable[[Identity], bool]:
    """Of SGLang: it was started so."""
    return says_of("SGLang", name, value)


def says_of(server: str, name: str, value: object) -> Callable[[Identity], bool]:
    return lambda who: who.name == server and who.facts.get(name) == value


def named(name: str) -> Callable[[Identity], bool]:
    return lambda who: who.name == name


def dies_of_pairs(who: Identity) -> bool:
    """Whether a text and an image in one batch may end it: no SGLang is known that survives, unless nothing is batched."""
    return who.batches_requests


KNOWN: tuple[Known, ...] = (
    Known(
        "images may be ignored",
        since((0, 4, 9, 3)),
        "SGLang 0.4.9.post3 to 0.5.23 drop CLIP's images in silence and embed the word 'padding' instead",
        "use 0.4.9.post2 or older, or a build whose CLIP processor is mended; --mode text needs no images",
        needs.images,
        settles="images are seen",
    ),
    Known(
        "batch encoding may drop images",
        says("enable_tokenizer_batch_encode", True),
        "--enable-tokenizer-batch-encode drops images",
        "start it without; texts are then encoded one by one",
        needs.images,
        settles="images are seen",
    ),
    Known(
        "texts may leak",
        batching(FIRST),
        "SGLang up to 0.5.23 runs the texts of a batch as one sequence: each sees those before it",
        ONE_AT_A_TIME,
        needs.crowded_texts,
        settles="texts in one request",
    ),
    Known(
        "long batches may kill",
        batching((0, 5, 18, 0)),
        "since 0.5.18 a batch of more than 77 tokens in all ends the server: 16 short texts in flight are enough",
        ONE_AT_A_TIME,
        needs.crowded_texts,
        settles="texts in one request",
    ),
    Known(
        "pairs may kill",
        batching(FIRST),
        "SGLang up to 0.5.23 dies of a text and an image in one batch, once images are embedded at all",
        ONE_AT_A_TIME + "; or send texts and images to servers of their own",
        needs.both,
        settles="a text and an image in one request",
    ),
    Known(
        "a radix cache",
        says("disable_radix_cache", False),
        "its radix cache is on: what is cached of a text is not fed to the model",
        "start it with --disable-radix-cache; it costs nothing, a cached CLIP text is a wrong one",
        needs.texts,
        settles="the same text twice",
    ),
    Known(
        "base64 may be ignored",
        since(FIRST, (0, 5, 16, 0)),
        "SGLang up to 0.5.16 sends floats whatever it is asked for",
        "use --encoding-format float; a reply is then four times as long",
        needs.base64,
        settles="base64",
    ),
    *(
        Known(
            f"{name}: {what}",
            named(name),
            f"{name} takes {how}",
            f"use --api {api}: {limits}",
            need,
            settles=probe,
            not_with=api,
        )
        for name, api, own, limits in (
            ("Infinity", "infinity", "modality", "a request holds one kind, so --mode text, image or mixed"),
            ("vLLM", "vllm", "messages", "a request holds texts or one image, so --mode text, image or mixed"),
        )
        for what, need, how, probe in (
            ("texts", needs.both, "texts as plain strings only; beside images they are sent as objects", "a text has a vector"),
            ("images", needs.images, f"images by a field {own}", "an image has a vector"),
        )
    ),
    *(
        Known(
            f"Infinity: no prefix, {kind}",
            says_of("Infinity", "prefix", "none"),
            "its paths do not begin with /v1, as clipload's do",
            "start it with --url-prefix /v1",
            need,
            settles=probe,
        )
        for kind, need, probe in (
            ("texts", needs.texts, "a text has a vector"),
            ("images", needs.images, "an image has a vector"),
        )
    ),
    Known(
        "long texts may be cut",
        says("allow_auto_truncate", True),
        "--allow-auto-truncate cuts the end of a long text off, and CLIP's vector is that of the end",
        "start it without, and send no text of more than 76 tokens",
        needs.texts,
    ),
    Known(
        "a chat template",
        lambda who: who.name == "SGLang" and bool(who.facts.get("chat_template")),
        "it has a chat template, which is put around each text: CLIP has none",
        "start it without --chat-template",
        needs.texts,
    ),
    Known(
        "a version newer than known",
        lambda who: who.release is not None and who.release > LAST,
        "it is newer than 0.5.23, the last of which something is known",
        "believe the probes; what only a load shows may still be there",
        needs.always,
    ),
    Known(
        "a patched build",
        since((0, 5, 20, 0)),
        "SGLang 0.5.20 to 0.5.23 as published load no CLIP: this one is patched, and figures are those of the patch",
        "name the patch beside the figures",
        needs.always,
    ),
)
