"""What a load depends on: predicates of a Plan, by which a probe or a known fault concerns it or does not."""

from __future__ import annotations

from collections.abc import Callable

from clipload.plan import Plan

Need = Callable[[Plan], bool]


def texts(plan: Plan) -> bool:
    return plan.mode != "image"


def images(plan: Plan) -> bool:
    return plan.mode != "text"


def pairs(plan: Plan) -> bool:
    """A request may hold a text and an image."""
    return plan.mode == "multimodal" or (plan.mode == "mixed" and plan.batch_size > 1)


def both(plan: Plan) -> bool:
    """Texts and images are in flight together, in one request or in several."""
    return plan.mode in ("multimodal", "mixed")


def batches(plan: Plan) -> bool:
    """A request may hold several Items."""
    return plan.vectors_per_request > 1


def base64(plan: Plan) -> bool:
    return plan.encoding_format == "base64"
