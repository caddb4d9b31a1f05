"""The probes: what is asked, and how the replies are judged. A new one is a line of `PROBES`.

They are sent from the top, and a request that several share is sent once. Texts are so short that those of one request stay
under CLIP's 77 tokens in any vocabulary (a token is a byte at least), which is what SGLang survives.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """`right` and `remedy` are what is said when the judgement is "" and when it is not. `needed`: which Plans fail by it.

    `together`: Items are sent in one request, which some servers do not survive. `aside`: also for Plans that do not need it.
    """

    name: str
    needed: Need
    asks: tuple[Ask, ...]
    judge: Judgement
    right: str
    remedy: str
    together: bool = False
    aside: bool = False

    @property
    def has_image(self) -> bool:
        return any(ask.has_image for ask in self.asks)


_ALONE = tuple(Ask((text,)) for text in TEXTS)
_DOG, _CATS, *_ = _ALONE
_RED, _BOARD, _PADDING = Ask((RED,)), Ask((BOARD,)), Ask((PADDING,))
_NO_FIGURE = "no figure of it means anything: see its log"

PROBES: tuple[Probe, ...] = (
    Probe("a text has a vector", needs.texts, (_DOG,), sane, "{vector}", _NO_FIGURE),
    Probe("texts are seen", needs.texts, (_DOG, _CATS), differ, "two texts differ", _NO_FIGURE),
    Probe(
        "the same text twice",
        needs.texts,
        (_DOG, Ask(_DOG.items, again=1)),
        agree,
        "gives one vector",
        "a cache answers wrongly: start it without",
    ),
    Probe("an image has a vector", needs.images, (_RED,), sane, "{vector}", _NO_FIGURE),
    Probe(
        "images are seen",
        needs.images,
        (_RED, _BOARD, _PADDING),
        differ,
        "two images differ, and from the text 'padding'",
        "images are ignored: only --mode text measures what it seems to",
        aside=True,
    ),
    Probe("one length", needs.both, (_DOG, _RED), sane, "texts' and images' vectors are equally long", _NO_FIGURE),
    Probe("base64", needs.base64, (Ask(_DOG.items, encoding="base64"),), as_base64, "is sent", "use --encoding-format float"),
    Probe(
        "texts in one request",
        needs.texts,
        (*_ALONE, Ask(TEXTS)),
        together,
        "agree with one at a time",
        "keep its requests apart, or name another server",
        together=True,
    ),
    Probe(
        "images in one request",
        lambda plan: plan.mode != "text" and plan.batch_size > 1,
        (_RED, _BOARD, Ask((RED, BOARD))),
        together,
        "agree with one at a time",
        "use --batch-size 1",
        together=True,
    ),
    Probe(
        "a text and an image in one request",
        needs.pairs,
        (_DOG, _RED, Ask((TEXTS[0], RED))),
        together,
        "agree with one at a time",
        "send them apart: --mode mixed with --batch-size 1",
        together=True,
    ),
)

OTHERS: tuple[tuple[str, Ask], ...] = (
    ("v1", Ask(_DOG.items, api="v1", encoding="float")),
    ("v1 base64", Ask(_DOG.items, api="v1", encoding="base64")),
    ("native", Ask(_DOG.items, api="native", encoding="float")),
    ("openai", Ask(_DOG.items, api="openai", encoding="float")),
)
"""Further words for one text: what a server can be spoken to in, besides the Plan's own."""
