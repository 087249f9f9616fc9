"""``one_shot``: labelled cases under learned changes of shape and of intensity.

Zhao et al. 2019, data augmentation using learned transformations for one-shot medical image
segmentation, doi:10.1109/CVPR.2019.00874. A registration network maps a labelled case to a scan;
another network finds, in the case's space, what its intensities lack of the scan's. A new case
takes the shape of one scan and the intensities of another; its labels move with its shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import networks
from pipeline.networks import spatial
from pipeline.networks.deformation import Deformation
from pipeline.segment.learning.scene import Variety
from pipeline.synthesize.augmentation import samples
from pipeline.synthesize.augmentation.from_labels import number_of, whole_multiples
from pipeline.synthesize.augmentation.kinds import Job, Made, Request, Sources
from pipeline.synthesize.augmentation.samples import Classes, Crops, Floats
from pipeline.training.bundle import Architecture
from pipeline.training.data import SeededSamples
from pipeline.training.losses import smoothness
from pipeline.training.losses.similarity import LocalNCC
from pipeline.training.recipe import Networks, Player

SHAPE, APPEARANCE = "shape", "appearance"


class OneShotRecipe:
    """The two networks, each with a player of its own.

    Args:
        shape: registration network, called with (moving, fixed), both one channel.
        appearance: called with the case and the scan in the case's space as channels; gives what
            is to be added.
        smooth: weight of the roughness of the map.
        even: weight of the roughness of what is added, inside of structures.
        identity: hash of configuration, code and data.
    """

    metric = "error"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self, shape: nn.Module, appearance: nn.Module, smooth: float, even: float, identity: str
    ) -> None:
        self.networks: dict[str, nn.Module] = {SHAPE: shape, APPEARANCE: appearance}
        self.players = [Player(SHAPE, (SHAPE,)), Player(APPEARANCE, (APPEARANCE,))]
        self.smooth, self.even, self.identity = smooth, even, identity
        self.similarity = LocalNCC()

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        case, scan = batch["image"], batch["scan"]
        found = between(networks[SHAPE], case, scan)
        if player == SHAPE:
            moved = spatial.warp(unit(case[:, :1]), found.displacement, padding="border")
            alike: Tensor = self.similarity(moved, unit(scan[:, :1]))
            rough = smoothness.diffusion(_field(found))
            total = alike + self.smooth * rough
            return {"loss": total, "similarity": alike.detach(), "roughness": rough.detach()}
        there = spatial.warp(scan, _back(found), padding="border").detach()
        added = networks[APPEARANCE](torch.cat([case, there], dim=1))
        difference = (case + added - there).square().mean()
        uneven = roughness_inside(added, batch["labels"])
        total = difference + self.even * uneven
        return {"loss": total, "difference": difference.detach(), "unevenness": uneven.detach()}

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """Mean difference of the scan from the case in its shape and intensities, and before."""
        case, scan = batch["image"], batch["scan"]
        found = between(networks[SHAPE], case, scan)
        there = spatial.warp(scan, _back(found), padding="border")
        added = networks[APPEARANCE](torch.cat([case, there], dim=1))
        made = spatial.warp(case + added, found.displacement, padding="border")
        return {
            "error": float((made - scan).abs().mean()),
            "before": float((case - scan).abs().mean()),
        }


def between(shape: nn.Module, case: Tensor, scan: Tensor) -> Deformation:
    """Maps from a case to a scan, by their first contrasts."""
    found: Deformation = shape(unit(case[:, :1]), unit(scan[:, :1]))
    return found


def unit(image: Tensor) -> Tensor:
    """From -1 to 1, to 0 to 1."""
    return (image + 1.0) / 2.0


def roughness_inside(added: Tensor, labels: Tensor) -> Tensor:
    """Mean squared difference of neighbours of one class: steps at borders are free.

    Args:
        added: (B, C, Z, Y, X).
        labels: (B, Z, Y, X), classes.
    """
    total = added.new_zeros(())
    for axis in (1, 2, 3):
        step = added.diff(dim=axis + 1).square().mean(dim=1)
        inside = (labels.diff(dim=axis) == 0).to(step.dtype)
        total = total + (step * inside).sum() / inside.sum().clamp_min(1.0)
    return total


def _field(found: Deformation) -> Tensor:
    return found.displacement if found.velocity is None else found.velocity


def _back(found: Deformation) -> Tensor:
    return spatial.invert(found.displacement) if found.inverse is None else found.inverse


class Pairs:
    """A labelled case, as it is, beside a scan.

    Args:
        cases: with labels.
        scans: all that shapes and intensities are taken of, the cases among them.
        section: ``synthesize.augmentation``.
        known: labels that are learned.
    """

    def __init__(self, cases: Any, scans: Any, section: Mapping[str, Any], known: Any) -> None:
        still = {**section, "variety": {}}
        self.cases, self.scans = Crops(cases, still, known, 0), Crops(scans, still, known, 0)

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """``image``, ``labels`` of the case and ``scan``, both (C, Z, Y, X)."""
        one = self.cases(rng, int(rng.integers(len(self.cases.cases))))
        other = self.scans(rng, int(rng.integers(len(self.scans.cases))))
        return {"image": one["image"], "labels": one["labels"], "scan": other["image"]}


def prepare(request: Request) -> Job:
    """Recipe and samples of a training."""
    section, channels = request.section, request.channels
    base = int(section["features"])
    shape = {
        "encoder": [base, 2 * base, 2 * base], "decoder": [2 * base] * 3, "final": [base, base],
    }  # fmt: skip
    appearance = {
        "inputs": 2 * channels, "outputs": channels, "features": [base, 2 * base, 4 * base],
    }  # fmt: skip
    architectures = {
        SHAPE: Architecture("voxelmorph", shape), APPEARANCE: Architecture("image_unet", appearance)
    }  # fmt: skip
    torch.manual_seed(request.plan.seed)
    made = {name: networks.build(one.name, one.arguments) for name, one in architectures.items()}
    recipe = OneShotRecipe(
        made[SHAPE], made[APPEARANCE], float(section["smooth"]), float(section["even"]),
        request.identity,
    )  # fmt: skip
    seed, every = request.plan.seed, [*request.train, *request.scans]
    drawn = Pairs(request.train, every, section, request.known)
    # validated: the labelled cases of the training against scans that it did not see
    held = Pairs(request.train, request.validation, section, request.known)
    count = max(4, len(request.validation))
    return Job(
        recipe, SeededSamples(drawn, seed), SeededSamples(held, seed + 1, count), architectures
    )


def make(networks: Mapping[str, nn.Module], sources: Sources, rng: np.random.Generator) -> Made:
    """A case in the shape of one scan, with the intensities of another."""
    case = sources.cases[int(rng.integers(len(sources.cases)))]
    spacing, still = float(sources.section["spacing"]), Variety.none()
    values, classes, grid = samples.seen(case, spacing, sources.known, still, rng)
    every = [*sources.cases, *sources.scans]
    others = []
    for _ in range(2):
        other = every[int(rng.integers(len(every)))]
        found, _labels, _grid = samples.seen(other, spacing, (), still, rng)
        others.append(samples.fitted(found, _size(classes)))
    return Made(*changed(networks, values, classes, *others), grid, float("nan"))


def changed(
    networks: Mapping[str, nn.Module],
    values: Floats,
    classes: Classes,
    shape: Floats,
    look: Floats,
) -> tuple[Floats, Classes]:
    """A case with the shape of one scan and the intensities of another, all on one grid.

    Args:
        networks: of the bundle.
        values: (C, Z, Y, X), -1 to 1, the case.
        classes: (Z, Y, X), its labels.
        shape, look: (C, Z, Y, X), the scans.
    """
    case, first, second = (torch.from_numpy(one)[None] for one in (values, shape, look))
    with torch.no_grad():
        there = spatial.warp(
            second, _back(between(networks[SHAPE], case, second)), padding="border"
        )
        added = _added(networks[APPEARANCE], torch.cat([case, there], dim=1))
        field = between(networks[SHAPE], case, first).displacement
        image = spatial.warp(case + added, field, padding="border").clamp(-1.0, 1.0)
        labels = torch.from_numpy(classes)[None, None].float()
        moved = spatial.warp(labels, field, mode="nearest", padding="border")
    return image[0].numpy(), moved[0, 0].numpy().astype(np.int64)


def _added(appearance: nn.Module, both: Tensor) -> Tensor:
    size = _size(both)
    divisor = number_of(appearance, "divisor")
    filled = samples.fitted(both.numpy(), whole_multiples(size, divisor))
    found = appearance(torch.from_numpy(filled)).numpy()
    return torch.from_numpy(samples.fitted(found, size))


def _size(values: Any) -> samples.Size:
    z, y, x = (int(n) for n in values.shape[-3:])
    return z, y, x


def judge(networks: Mapping[str, nn.Module], image: Floats, classes: Classes, count: int) -> float:
    """No critic judges a learned transform."""
    return float("nan")
