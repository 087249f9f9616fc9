"""Prepares unpaired trainings: networks, samples and what the card says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import networks
from pipeline.errors import VoxelwayError
from pipeline.synthesize.learning import unpaired_draw
from pipeline.synthesize.learning.cycle import (
    BACK,
    CRITIC,
    CRITIC_BACK,
    NAME,
    Cycle,
    Weights,
    estimate,
)
from pipeline.synthesize.learning.job import Job, Request
from pipeline.synthesize.learning.unpaired_draw import Held, Unpaired
from pipeline.training.bundle import Architecture
from pipeline.training.collapse import Limits
from pipeline.training.data import SeededSamples
from pipeline.training.losses.gradient_consistency import correlation
from pipeline.training.losses.restoration import structure, weighted

#: Patches whose made targets are looked at for their diversity.
PROBES = 8
#: Largest edge of the validation samples, voxels: a whole brain at 2 mm, or its middle.
EDGE = 112
#: The critics see patches of 15 voxels: brain at 2 to 4 mm has few of 31.
CRITIC_FEATURES = (32, 64)
LIMITS = (
    "it was trained without pairs: nothing has shown it which made value is right, and a lesion "
    "may be lost or invented; look at the segmentation with and without the made contrast",
    "a cycle can be closed by detail that nobody sees (noise on the way back works against it): "
    "the error of the cycle says little of the made contrast",
    "the map of expected errors was learned from the cycle, and tells too little of them",
)


def prepare(request: Request) -> Job:
    """A training of ``cyclegan`` or ``gradient_cyclegan``.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for other than one source and one target or for losses,
            E-TRAIN-DATA for too few subjects, E-MODEL-INPUT for a network's arguments.
    """
    source, target = contrasts(request)
    weights = Weights.of(request.preset.losses)
    if weights.segmentation:
        what = "The loss segmentation is of the method synseg alone"
        raise VoxelwayError("E-CONFIG-VALUE", what)
    least = int(request.learning["min_subjects"])
    unpaired_draw.check(request.train, source, target, least)
    side = int(request.learning["patch"])
    drawn = Unpaired(request.train, source, target, side)
    held = Held(request.validation, request.train, source, target, EDGE)
    recipe = Cycle(
        players(request), weights, side, Limits.of(request.learning["collapse"]),
        unpaired_draw.probe(drawn, PROBES, request.plan.seed), request.identity,
    )  # fmt: skip
    return Job(
        recipe=recipe,
        samples=SeededSamples(drawn, request.plan.seed),
        validation=held_samples(held, request.plan.seed),
        architectures={NAME: architecture(request)},
        purpose=f"{target} from {source}, learned from scans of different people",
        judge=judge,
        limits=LIMITS,
    )


def contrasts(request: Request) -> tuple[str, str]:
    """The one source and the one target.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for others.
    """
    given, wanted = request.contrasts, request.targets
    if len(given) != 1 or len(wanted) != 1 or given == wanted:
        what = f"An unpaired training from {', '.join(given)} to {', '.join(wanted)}"
        hint = "Name one contrast in synthesize.learning.sources and another in synthesize.targets"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
    return given[0], wanted[0]


def architecture(request: Request) -> Architecture:
    """Of the generator; the way back has the same."""
    given = {"inputs": 1, "targets": 1, **request.preset.arguments}
    return Architecture(request.preset.architecture, given)


def players(request: Request) -> dict[str, nn.Module]:
    """Generators and critics with fresh weights; same seed, same weights."""
    torch.manual_seed(request.plan.seed)
    made = architecture(request)
    critic = {"inputs": 1, "features": list(CRITIC_FEATURES)}
    return {
        NAME: networks.build(made.name, made.arguments),
        BACK: networks.build(made.name, made.arguments),
        CRITIC: networks.build("critic", critic),
        CRITIC_BACK: networks.build("critic", critic),
    }


def held_samples(held: Held, seed: int) -> SeededSamples:
    """Validation samples.

    Raises:
        VoxelwayError: E-TRAIN-DATA when no validation subject has the source.
    """
    if not held.count:
        what = f"No validation subject has a {held.source}"
        raise VoxelwayError("E-TRAIN-DATA", what)
    return SeededSamples(held, seed + 1, held.count)


def judge(networks: Mapping[str, nn.Module], batch: Any) -> dict[str, float]:
    """Measures for the card: against the truth where the subject has it, edges of the source."""
    made, log = estimate(networks, NAME, batch["source"], batch["source_inside"])
    edges = correlation(made, batch["source"], batch["source_inside"]).abs()
    found = {"correlation of gradients, made and source": float(edges)}
    if "truth" in batch:
        truth, inside = batch["truth"], batch["truth_inside"] * batch["source_inside"]
        found |= against(made, truth, inside)
        # the trainer scales the map of expected errors by it
        found["surprise"] = float(weighted((made - truth).square() / log.exp(), inside))
    return found


def against(made: Tensor, truth: Tensor, inside: Tensor) -> dict[str, float]:
    """PSNR (dB), SSIM, correlation and gradients of made (1, 1, Z, Y, X) against acquired."""
    values = truth[inside > 0]
    width = float(torch.quantile(values[: 2**24], 0.995))
    error = weighted((made - truth).square(), inside)
    both = torch.stack([made[inside > 0], values])
    similar = structure(made * inside / width, truth * inside / width)[0]
    return {
        "PSNR, dB": float(10.0 * torch.log10(width**2 / error.clamp_min(1e-12))),
        "SSIM": float(similar.mean()),
        "NCC": float(torch.corrcoef(both)[0, 1]),
        "correlation of gradients, made and acquired": float(correlation(made, truth, inside)),
    }
