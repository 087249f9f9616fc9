"""Samples of a level: patches to train on, whole boxes to validate on.

A later level sees what the levels before make of the same scene, as it will at inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.segment import crop
from pipeline.segment.cascade import prior, volume, window
from pipeline.segment.cascade.plan import CascadePlan, Level
from pipeline.segment.cascade.volume import Floats, Scale
from pipeline.segment.learning import targets
from pipeline.segment.learning.atlas import Atlas
from pipeline.segment.learning.cases import Case
from pipeline.segment.learning.contrast import Contrasts
from pipeline.segment.learning.scene import Labels, Scene, Variety

#: Label of voxels that no loss looks at.
IGNORED = -1
#: Share of the patches that are centred on a voxel of a random structure.
CENTRED = 0.6


@dataclass(frozen=True)
class Before:
    """What the level before found in a scene.

    Attributes:
        posterior: (C, Z, Y, X), channel 0 the background.
        grid: that it is on.
        scales: of each channel of the image, for the next level.
    """

    posterior: Floats
    grid: sitk.Image
    scales: tuple[Scale, ...]


@dataclass(frozen=True)
class Looked:
    """The channels of an image on a grid, not scaled, and the scale of each."""

    values: Floats
    scales: tuple[Scale, ...]


@dataclass(frozen=True)
class Material:
    """What all samples of a level rest on.

    Attributes:
        plan: of the cascade.
        number: of the level.
        networks: trained networks of the levels before, by name, in the mode of evaluation.
        contrasts: for label maps; None for images.
        pairs: look-up table from a label to that on the other side.
        atlases: of the levels that have a prior, by name.
    """

    plan: CascadePlan
    number: int
    networks: Mapping[str, nn.Module]
    contrasts: Contrasts | None
    pairs: NDArray[np.int64]
    atlases: Mapping[str, Atlas] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """The level that is trained."""
        return self.plan.levels[self.number]

    @property
    def learned(self) -> NDArray[np.int64]:
        """Labels of the plan."""
        return np.asarray([int(row["index"]) for row in self.plan.labels], np.int64)

    def channels(self, scene: Scene, grid: sitk.Image) -> Labels:
        """A scene's labels on a grid as output channels of the level, (Z, Y, X)."""
        return targets.channels(self.level, self.learned, len(self.pairs) - 1, scene.labels, grid)


class Patches:
    """Draws patches of a level's size from scenes.

    Args:
        material: of the level.
        cases: one side of the split.
        variety: of the scenes.
        repeats: patches that are taken of a scene, in a row.
        seed: of the scenes.
        made: groups of generated cases, one a generator.
        share: of the scenes that are of generated cases, every group as often.
    """

    def __init__(
        self, material: Material, cases: Sequence[Case], variety: Variety, repeats: int, seed: int,
        made: Sequence[Sequence[Case]] = (), share: float = 0.0,
    ) -> None:  # fmt: skip
        self.material, self.cases, self.variety = material, cases, variety
        self.repeats, self.seed = repeats, seed
        self.made, self.share = made, share
        self._scenes = lru_cache(maxsize=1)(self._scene)

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """``image`` (inputs, Z, Y, X) and ``target`` (Z, Y, X) of the patch's size."""
        scene, before = self._scenes(index // self.repeats)
        level = self.material.level
        grid = self._place(scene, before, rng)
        return sample(self.material, scene, grid, before, level.patch, rng)

    def _scene(self, number: int) -> tuple[Scene, Before | None]:
        rng = np.random.default_rng([self.seed, 1, number])
        scene = make_scene(self.material, self._case(rng), rng, self.variety)
        return scene, upstream(self.material, scene, rng)

    def _case(self, rng: np.random.Generator) -> Case:
        cases = self.cases
        if self.made and rng.random() < self.share:
            cases = self.made[int(rng.integers(len(self.made)))]
        return cases[int(rng.integers(len(cases)))]

    def _place(self, scene: Scene, before: Before | None, rng: np.random.Generator) -> sitk.Image:
        """Grid of a patch: about a voxel of a random structure, or anywhere in the box."""
        level = self.material.level
        if before is None:
            whole = images.spaced_grid(scene.case.labels, level.spacing)
            labels: Labels | None = None
            if np.any(np.asarray(whole.GetSize()) > level.patch):
                labels = self.material.channels(scene, whole)
        else:
            whole = box_grid(level, before, scene)
            previous = self.material.plan.levels[self.material.number - 1]
            found = volume.context(before.posterior, previous, level)
            likely = np.where(found.max(axis=0) > 0.5, found.argmax(axis=0) + 1, 0)
            labels = _nearest(likely, before, whole)
        start = _start(np.asarray(whole.GetSize()), np.asarray(level.patch), labels, rng)
        return shifted(whole, start, level.patch)


class Wholes:
    """The whole field of view, or box, of each case, to validate on.

    Args:
        material: of the level.
        cases: the other side of the split.
        variety: of the scenes of label maps; images are taken as they are.
        count: number of samples; cases are taken in turn.
        seed: of the scenes.
    """

    def __init__(
        self, material: Material, cases: Sequence[Case], variety: Variety, count: int, seed: int
    ) -> None:
        self.material, self.cases = material, cases
        self.variety = variety if material.contrasts is not None else Variety.none()
        self.count, self.seed = count, seed

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """``image`` (inputs, Z, Y, X) and ``target`` (Z, Y, X) of any size."""
        case = self.cases[index % len(self.cases)]
        rng = np.random.default_rng([self.seed, 2, index])
        scene = make_scene(self.material, case, rng, self.variety)
        before = upstream(self.material, scene, rng)
        level = self.material.level
        if before is None:
            grid = images.spaced_grid(case.labels, level.spacing)
        else:
            grid = box_grid(level, before, scene)
        return sample(self.material, scene, grid, before, grid.GetSize(), rng)


def make_scene(material: Material, case: Case, rng: np.random.Generator, variety: Variety) -> Scene:
    """A scene of a case, with the material's contrasts and labels."""
    return Scene(case, rng, variety, material.contrasts, material.pairs, material.learned)


def sample(
    material: Material,
    scene: Scene,
    grid: sitk.Image,
    before: Before | None,
    size: Sequence[int],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Image and target of a grid, filled up to ``size`` (x, y, z) where it is smaller."""
    image, _ = seen(material, material.number, scene, grid, before, rng)
    target = material.channels(scene, grid)
    level = material.level
    if before is not None and level.inside:
        previous = material.plan.levels[material.number - 1]
        target = np.where(_inside(level, previous, before, grid), target, IGNORED)
    if scene.view is not None or scene.drawn:
        target = np.where(scene.visible(grid), target, IGNORED)
    return {"image": filled(image, size), "target": filled(target, size, IGNORED)}


def seen(
    material: Material,
    number: int,
    scene: Scene,
    grid: sitk.Image,
    before: Before | None,
    rng: np.random.Generator,
) -> tuple[Floats, Looked]:
    """What level ``number`` sees of a scene, (inputs, Z, Y, X), and how it looks at the image."""
    values = scene.image(grid, rng)
    scales = before.scales if before is not None else first_scales(material, scene, values)
    channels = [scale(one) for scale, one in zip(scales, values, strict=True)]
    level = material.plan.levels[number]
    if before is not None:
        previous = material.plan.levels[number - 1]
        if level.context:
            told = volume.context(before.posterior, previous, level)
            channels += list(_on_grid(told, before, grid))
        if level.prior is not None:
            found = before.posterior.argmax(axis=0)
            centres = prior.centres(found, len(previous.classes), before.grid)
            shares = material.atlases[level.name].without(scene.case)
            channels += list(prior.laid(shares, level.prior, centres, grid))
    return np.stack(channels), Looked(values, scales)


def first_scales(material: Material, scene: Scene, values: Floats) -> tuple[Scale, ...]:
    """Scales of the first level: of the whole image where it is one, of the values if drawn."""
    intensity = material.plan.intensity
    whole = values if scene.drawn else np.stack([images.array(one) for one in scene.case.images])
    return tuple(volume.first_scale(one, intensity, scene.case.name) for one in whole)


def upstream(material: Material, scene: Scene, rng: np.random.Generator) -> Before | None:
    """Run all levels before the one that is trained; None for the first."""
    before: Before | None = None
    for number in range(material.number):
        level = material.plan.levels[number]
        if before is None:
            grid = images.spaced_grid(scene.case.labels, level.spacing)
        else:
            grid = box_grid(level, before, scene)
        image, looked = seen(material, number, scene, grid, before, rng)
        posterior = posteriors(material.networks, level, image)
        found = posterior.argmax(axis=0) > 0
        kind = material.plan.intensity.kind
        following = tuple(
            volume.next_scale(one, found, scale, kind)
            for one, scale in zip(looked.values, looked.scales, strict=True)
        )
        before = Before(posterior, grid, following)
    return before


def posteriors(networks: Mapping[str, nn.Module], level: Level, values: Floats) -> Floats:
    """Mean posterior (C, Z, Y, X) of the members that are given, on the CPU, as at inference."""
    image = torch.from_numpy(values)[None]
    shares = [
        window.softmax(logits(networks[name], level, image), level.temperature)
        for name in level.networks
        if name in networks
    ]
    return np.asarray(torch.stack(shares).mean(dim=0)[0].numpy())


def logits(network: nn.Module, level: Level, image: torch.Tensor) -> torch.Tensor:
    """Logits (B, C, Z, Y, X) of a volume by the windows and the filling of inference."""
    shape = [int(n) for n in image.shape[2:]]
    route = window.way(shape, level.patch[::-1], window.divisor(network), 0.5)
    return window.logits(network, image, route, image.device)


def box_grid(level: Level, before: Before, scene: Scene) -> sitk.Image:
    """Grid of a level in the box around what the level before found.

    A scene where that found nothing, as a young network does, gives the whole field of view.
    """
    whole = images.spaced_grid(scene.case.labels, level.spacing)
    if not level.crop:
        return whole
    found = before.posterior.argmax(axis=0)
    if not found.any():
        return whole
    mask = images.like((found > 0).astype(np.uint8), before.grid)
    try:
        box = crop.around(mask, whole, level.margin, scene.case.name)
    except VoxelwayError:
        return whole
    return box.cut(whole)


def shifted(whole: sitk.Image, start: Sequence[int], size: Sequence[int]) -> sitk.Image:
    """Grid of ``size`` whose first voxel is voxel ``start`` (may be outside) of another."""
    result = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    result.SetSpacing(whole.GetSpacing())
    result.SetDirection(whole.GetDirection())
    result.SetOrigin(whole.TransformIndexToPhysicalPoint([int(n) for n in start]))
    return result


def filled(values: NDArray[Any], size: Sequence[int], constant: float | None = None) -> Any:
    """Array (..., Z, Y, X) filled up at the ends to ``size`` (x, y, z).

    Without a constant each channel is filled with its lowest value, as inference does.
    """
    pads = [(0, max(0, n - own)) for n, own in zip(size[::-1], values.shape[-3:], strict=True)]
    if not any(end for _, end in pads):
        return np.ascontiguousarray(values)
    if constant is not None:
        return np.pad(values, pads, constant_values=constant)
    return np.stack([np.pad(one, pads, constant_values=one.min()) for one in values])


def _start(
    whole: NDArray[np.int64],
    patch: NDArray[np.int64],
    labels: Labels | None,
    rng: np.random.Generator,
) -> list[int]:
    """First voxel (x, y, z) of a patch; where the patch is the larger one, both are centred."""
    room = whole - patch
    start = np.where(room > 0, rng.integers(0, np.maximum(room, 0) + 1), -(-room // 2))
    if labels is not None and rng.random() < CENTRED:
        classes = np.unique(labels)
        classes = classes[classes > 0]
        if len(classes):
            places = np.argwhere(labels == rng.choice(classes))
            centre = places[int(rng.integers(len(places)))][::-1]
            wanted = np.clip(centre - patch // 2, 0, np.maximum(room, 0))
            start = np.where(room > 0, wanted, start)
    return [int(n) for n in start]


def _on_grid(values: Floats, before: Before, grid: sitk.Image) -> Floats:
    """Channels of the level before, linear, on another grid of the same axes."""
    vector = sitk.GetImageFromArray(np.ascontiguousarray(np.moveaxis(values, 0, -1)), isVector=True)
    vector.CopyInformation(before.grid)
    padded = sitk.ZeroFluxNeumannPad(vector, [1, 1, 1], [1, 1, 1])
    found = sitk.Resample(padded, grid, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, 0.0)
    shape = (*found.GetSize()[::-1], len(values))
    # a copy: of one channel nothing else makes one, and a view does not outlive its image
    return np.ascontiguousarray(np.moveaxis(sitk.GetArrayFromImage(found).reshape(shape), -1, 0))


def _nearest(values: NDArray[Any], before: Before, grid: sitk.Image) -> Labels:
    """Whole numbers of the level before on another grid."""
    own = images.like(values.astype(np.uint16), before.grid)
    found: Labels = sitk.GetArrayFromImage(images.resample(own, grid, labels=True)).astype(np.int64)
    return found


def _inside(level: Level, previous: Level, before: Before, grid: sitk.Image) -> NDArray[np.bool_]:
    """Where the level before found the labels that this level looks inside of."""
    channels = [
        channel
        for channel, group in enumerate(previous.classes, start=1)
        if set(group) & set(level.inside)
    ]
    found = np.isin(before.posterior.argmax(axis=0), channels)
    return np.asarray(_nearest(found, before, grid) > 0)
