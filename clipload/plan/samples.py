"""What the Samples of a Plan may not be. PlanError names the flag and the remedy."""

from __future__ import annotations

from clipload.errors import PlanError
from clipload.plan.schema import Fields, flag_of


def check_samples(plan: Fields) -> None:
    if plan.data_source == "flickr8k":
        for name in ("flickr_images_dir", "flickr_captions_file"):
            if not getattr(plan, name):
                raise PlanError(
                    "is needed with --data-source flickr8k",
                    flag=flag_of(name),
                    remedy="name the dataset's folder and its Flickr8k.token.txt",
                )
