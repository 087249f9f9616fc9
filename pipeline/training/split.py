"""No subject is trained on and judged on, and both sides have some."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import VoxelwayError


def check(train: Sequence[str], validation: Sequence[str], *, apart: str, given: str) -> None:
    """Refuse sides that share a subject, and a side that is empty.

    Args:
        train: name of the subject of each thing that is trained on.
        validation: likewise of what is validated on.
        apart: what to do when they share one.
        given: what to do when one is empty.

    Raises:
        VoxelwayError: E-TRAIN-SPLIT with the subjects, E-TRAIN-DATA.
    """
    check_apart(train, validation, apart)
    if not train or not validation:
        what = f"{len(set(train))} subjects to train on, {len(set(validation))} to validate on"
        raise VoxelwayError("E-TRAIN-DATA", what, hint=given)


def check_apart(train: Sequence[str], validation: Sequence[str], hint: str) -> None:
    """Refuse sides that share a subject.

    Raises:
        VoxelwayError: E-TRAIN-SPLIT with the subjects.
    """
    both = sorted(set(train) & set(validation))
    if both:
        what = f"{len(both)} subjects are trained on and validated on: {', '.join(both[:5])}"
        raise VoxelwayError("E-TRAIN-SPLIT", what, hint=hint)


#: Where folders in ``learning.data`` put a subject on both sides.
APART = "Name all images of a subject in `validation`, or none"
#: Where a cohort and folders give too little.
GIVEN = "Give --results of a cohort with training and validation subjects, or learning.data"
