"""What a load depends on: predicates of a Plan, by which a probe or a known fault concerns it or does not."""

from __future__ import annotations

from collections.abc import Callable

from clipload.plan import Plan

Need = Callable[[Plan], bool]


def always(plan: Plan) -> bool:  # noqa: ARG001 - whatever it is
    return True


def texts(plan: Plan) -> bool:
    return plan.mode != "image"


def images(plan: Plan) -> bool:
    return plan.mode != "text"


def images_as_strings(plan: Plan) -> bool:
    """An image stands in a request as a text would."""
    return images(plan) and plan.api == "infinity"


def pairs(plan: Plan) -> bool:
    """A request may hold a text and an image."""
    return plan.mode == "multimodal" or (plan.mode == "mixed" and plan.batch_size > 1)


def both(plan: Plan) -> bool:
    """Texts and images are in flight together, in one request or in several."""
    return plan.mode in ("multimodal", "mixed")


def crowded_texts(plan: Plan) -> bool:
    """Several texts may be served at once."""
    return texts(plan) and (plan.vectors_per_request > 1 or plan.open_loop or (plan.concurrency or 0) > 1)


def crowded_images(plan: Plan) -> bool:
    """A request may hold several images."""
    return images(plan) and plan.batch_size > 1


def base64(plan: Plan) -> bool:
    return plan.encoding_format == "base64"
