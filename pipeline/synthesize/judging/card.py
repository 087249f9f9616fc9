"""Realism of an adversarial model for its card: made contrasts of validation subjects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from pipeline.synthesize.judging import features, realism
from pipeline.synthesize.judging.features import Picture
from pipeline.synthesize.judging.realism import Realism
from pipeline.synthesize.learning.cases import Scan
from pipeline.synthesize.learning.job import Request

#: Edge of the patches, voxels, and most steps of the encoder's training.
SIDE, STEPS = 16, 300


def adversarial(request: Request) -> bool:
    """Whether one of the losses is an adversary's."""
    return any(
        entry["name"] == "adversarial" and float(entry.get("weight", 1.0)) > 0
        for entry in request.preset.losses
    )


def of_request(request: Request, network: nn.Module, folder: Path) -> dict[str, Realism]:
    """Each target's realism on the validation scans, against acquired ones.

    Real images are those of all validation subjects who have the target, made ones of those who
    have something to make it from; they may be the same people.

    Args:
        request: of the training.
        network: the one that makes contrasts, in evaluation mode, on the CPU.
        folder: for the encoders' checkpoints.

    Returns:
        Nothing for targets that no validation subject has.
    """
    found = {}
    for number, target in enumerate(request.targets):
        real = pictures(request.validation, target)
        made = [
            Picture(scan.subject, _made(request, network, scan, number), scan.mask.numpy())
            for scan in request.validation
            if _sources(request, scan, target)
        ]
        learned = pictures(request.train, target)
        if not real or not made or not learned:
            continue
        encoder = features.learn(
            learned, SIDE, min(STEPS, request.plan.steps), request.plan.seed,
            folder / f"{features.NAME}_{target}", request.identity,
        )  # fmt: skip
        found[target] = realism.judge(real, made, encoder, side=SIDE, seed=request.plan.seed)
    return found


def pictures(scans: Sequence[Scan], target: str) -> list[Picture]:
    """Acquired images of a contrast."""
    return [
        Picture(scan.subject, scan.contrasts[target].numpy(), scan.mask.numpy())
        for scan in scans
        if target in scan.contrasts
    ]


def _sources(request: Request, scan: Scan, target: str) -> list[str]:
    return [name for name in request.contrasts if name in scan.contrasts and name != target]


@torch.no_grad()
def _made(request: Request, network: nn.Module, scan: Scan, number: int) -> features.Values:
    target = request.targets[number]
    used = _sources(request, scan, target)
    empty = torch.zeros(scan.mask.shape)
    volumes = [scan.contrasts[n] if n in used else empty for n in request.contrasts]
    given = torch.tensor([[float(name in used) for name in request.contrasts]])
    made = network(torch.stack(volumes)[None], given)[-1][0, number]
    values: features.Values = torch.where(scan.rim, made, 0.0).numpy()
    return values
