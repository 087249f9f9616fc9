"""How real generated cases look to our own encoder, for the card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.synthesize.augmentation.kinds import Made, Request
from pipeline.synthesize.judging import features, realism
from pipeline.synthesize.judging.features import Picture
from pipeline.synthesize.judging.realism import Realism

#: Edge of the patches, voxels, and most steps of the encoder's training.
SIDE, STEPS = 16, 200


def judge(
    request: Request,
    made: Sequence[Made],
    real: Sequence[Made],
    training: Sequence[Made],
    folder: Path,
) -> Realism:
    """Compare patches of made cases with those of as many real ones that were held out.

    Args:
        request: of the training.
        made: generated cases.
        real: validation cases.
        training: cases that the encoder learns from.
        folder: for the encoder's checkpoints.
    """
    steps = min(STEPS, request.plan.steps)
    encoder = features.learn(
        pictures(training, "training"), SIDE, steps, request.plan.seed, folder / features.NAME,
        request.identity,
    )  # fmt: skip
    count = min(len(real), len(made))
    ours, theirs = pictures(made[:count], "made"), pictures(real[:count], "real")
    return realism.judge(theirs, ours, encoder, side=SIDE, seed=request.plan.seed)


def pictures(cases: Sequence[Made], kind: str) -> list[Picture]:
    """First contrasts from 0 to 1; patches are centred anywhere."""
    return [
        Picture(f"{kind}/{number}", (one.image[0] + 1.0) / 2.0, np.ones_like(one.classes, np.bool_))
        for number, one in enumerate(cases)
    ]
