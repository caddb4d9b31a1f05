"""The probes: what is asked, and how the replies are judged. A new one is a line of `PROBES`.

They are sent from the top, and a request that several share is sent once. Texts are so short that those of one request stay
under CLIP's 77 tokens in any vocabulary (a token is a byte at least), which is what SGLang survives.
"""

from __future__ import annotations

from dataclasses import dataclass

from clipload.dialects import image_text
from clipload.preflight import needs
from clipload.preflight.asking import NONCE, Ask
from clipload.preflight.judgements import Judgement, agree, as_base64, differ, sane, together
from clipload.preflight.needs import Need
from clipload.preflight.pictures import BOARD, RED
from clipload.values import Text

TEXTS = tuple(Text(f"{word} {NONCE}") for word in ("a dog", "two cats", "red", "sky"))
PADDING = Text("padding")  # what SGLang embeds in the place of an image that it drops


@dataclass(frozen=True, slots=True)
class Probe:
    """`right` is said when the judgement is "", `wrong` before it when it is not. `needed`: which Plans fail by it.

    `together`: Items are sent in one request, which some servers do not survive. `aside`: also for Plans that do not need it.
    `rests_on`: the probe that must have held, or this one says nothing.
    """

    name: str
    needed: Need
    asks: tuple[Ask, ...]
    judge: Judgement
    right: str
    wrong: str
    remedy: str
    together: bool = False
    aside: bool = False
    rests_on: str = ""

    @property
    def has_image(self) -> bool:
        return any(ask.has_image for ask in self.asks)


_ALONE = tuple(Ask((text,)) for text in TEXTS)
_DOG, _CATS, *_ = _ALONE
_AGAIN = Ask(_DOG.items, again=1)
_RED, _BOARD, _PADDING = Ask((RED,)), Ask((BOARD,)), Ask((PADDING,))
_NO_FIGURE = "no figure of it means anything: see its log"
_BLIND = "only --mode text measures what it seems to"
_VECTOR, _AGREES = "{vector}", "agree with one at a time"

PROBES: tuple[Probe, ...] = (
    Probe("a text has a vector", needs.texts, (_DOG,), sane, _VECTOR, "texts get no vectors", _NO_FIGURE),
    Probe("texts are seen", needs.texts, (_DOG, _CATS), differ, "two texts differ", "texts are ignored", _NO_FIGURE),
    Probe(
        "the same text twice",
        needs.texts,
        (_DOG, _AGAIN),
        agree,
        "gives one vector",
        "the same text twice gives two vectors",
        "it seems to keep answers, and wrongly: start it without a cache",
    ),
    Probe("an image has a vector", needs.images, (_RED,), sane, _VECTOR, "images get no vectors", _NO_FIGURE),
    Probe(
        "images are seen",
        needs.images,
        (_RED, _BOARD),
        differ,
        "two images differ",
        "images are ignored",
        _BLIND,
        aside=True,
    ),
    Probe(
        "an image is not 'padding'",
        needs.images,
        (_RED, _PADDING),
        differ,
        "nor has it the vector of that text",
        "images are ignored",
        _BLIND,
        rests_on="images are seen",
    ),
    Probe(
        "an image is not its letters",
        needs.images_as_strings,
        (_RED, Ask((Text(image_text(RED)),))),
        differ,
        "nor that of its own data URI as a text",
        "images are read as texts",
        "the field modality is not known here: use --api v1",
        rests_on="images are seen",
    ),
    Probe("one length", needs.both, (_DOG, _RED), sane, "texts and images alike", "texts and images differ", _NO_FIGURE),
    Probe(
        "base64",
        needs.base64,
        (Ask(_DOG.items, encoding="base64"),),
        as_base64,
        "is sent when asked for",
        "base64 is ignored",
        "use --encoding-format float",
    ),
    Probe(
        "texts in one request",
        needs.crowded_texts,
        (*_ALONE, Ask(TEXTS), Ask(TEXTS, again=1)),
        together,
        _AGREES,
        "texts together disturb each other",
        "send one at a time (--concurrency 1), or name another server",
        together=True,
        rests_on="the same text twice",
    ),
    Probe(
        "images in one request",
        needs.crowded_images,
        (_RED, _BOARD, Ask((RED, BOARD))),
        together,
        _AGREES,
        "images together disturb each other",
        "use --batch-size 1",
        together=True,
    ),
    Probe(
        "a text and an image in one request",
        needs.pairs,
        (_DOG, _RED, Ask((TEXTS[0], RED))),
        together,
        _AGREES,
        "a text and an image together disturb each other",
        "send them apart: --mode mixed with --batch-size 1",
        together=True,
        rests_on="the same text twice",
    ),
)

OTHERS: tuple[tuple[str, Ask], ...] = (
    ("v1", Ask(_DOG.items, api="v1", encoding="float")),
    ("v1 base64", Ask(_DOG.items, api="v1", encoding="base64")),
    ("native", Ask(_DOG.items, api="native", encoding="float")),
    ("openai", Ask(_DOG.items, api="openai", encoding="float")),
)
"""Further words for one text: what a server can be spoken to in, besides the Plan's own."""
