"""What a load depends on: predicates of a Plan, by which a probe or a known fault concerns it or does not."""

from __future__ import annotations

from collections.abc import Callable

from clipload.plan import Plan
from clipload.plan.canary import parse_canary

Need = Callable[[Plan], bool]


def always(plan: Plan) -> bool:  # noqa: ARG001 - whatever it is
    return True


def _canary(plan: Plan) -> str:
    return "" if plan.canary is None else parse_canary(plan.canary).kind


def texts(plan: Plan) -> bool:
    return plan.mode != "image" or _canary(plan) == "text"


def images(plan: Plan) -> bool:
    return plan.mode != "text" or _canary(plan) == "image"


def images_as_strings(plan: Plan) -> bool:
    """An image stands in a request as a text would."""
    return images(plan) and plan.api == "infinity"


def pairs(plan: Plan) -> bool:
    """A request may hold a text and an image."""
    return plan.mode == "multimodal" or (plan.mode == "mixed" and plan.batch_size > 1)


def both(plan: Plan) -> bool:
    """Texts and images are in flight together, in one request or in several."""
    return texts(plan) and images(plan)


def crowded_texts(plan: Plan) -> bool:
    """Several texts may be served at once. Those of a canary are too few to meet."""
    return plan.mode != "image" and (plan.vectors_per_request > 1 or plan.open_loop or (plan.concurrency or 0) > 1)


def crowded_images(plan: Plan) -> bool:
    """A request may hold several images."""
    return plan.mode != "text" and plan.batch_size > 1


def base64(plan: Plan) -> bool:
    return plan.encoding_format == "base64"
