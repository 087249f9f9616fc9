"""A trained cascade on images: every level on its own grid, in the box of the level before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import device, images, threads
from pipeline.bundles.networks import load
from pipeline.errors import VoxelwayError
from pipeline.segment import crop
from pipeline.segment.cascade import (
    borders,
    cleanup,
    memory,
    plan,
    planes,
    prior,
    space,
    uncertainty,
    volume,
    window,
)
from pipeline.segment.cascade.bounds import TRUST, Bounds
from pipeline.segment.cascade.plan import Level, PriorGrid
from pipeline.segment.cascade.space import Labels, Places
from pipeline.segment.cascade.volume import Floats, Scale

NAME = "segment"
#: Fewest voxels along an axis of the first level's grid.
FEWEST = 4
#: Voxels around a box that its resampling looks at.
REACH = 4
#: A first level that finds less than this share of what the smallest training cases hold, away
#: from the border of the image, has not found it.
FAINT = 0.25
HINT = (
    "Look at the image: the model finds in it nothing of what it was trained on; choose another"
    " method or model"
)


@dataclass(frozen=True)
class Options:
    """How a cascade runs.

    Attributes:
        overlap: of neighbouring windows, share of the patch.
        enlargements: most times that a level's box grows.
        mirror: whether every image is labelled a second time with left and right exchanged.
        draws: of Monte-Carlo dropout for each network; 0 keeps all features.
        seed: of these draws.
        appearance: whether borders are drawn again by what the image shows, if the plan says how.
    """

    overlap: float = 0.5
    enlargements: int = 2
    mirror: bool = False
    draws: int = 0
    seed: int = 0
    appearance: bool = True


@dataclass(frozen=True)
class Scene:
    """What is looked at.

    Attributes:
        channels: of one subject, axes turned to be nearest to LPS.
        where: its name for messages.
        bounds: outside of which nothing is found; None where there are none.
    """

    channels: tuple[sitk.Image, ...]
    where: str
    bounds: Bounds | None = None


@dataclass(frozen=True)
class Found:
    """What a level found.

    Attributes:
        level: of the plan.
        grid: that everything is on.
        values: of each channel of the image, not scaled.
        scales: that they were looked at with.
        posterior: (C, Z, Y, X), channel 0 the background: the mean over the samples.
        side: place of each voxel in classes of several labels; None without such classes.
        samples: (S, L) expected volumes of the labels, mm3: one row a network, mirrored image or
            draw.
        facts: for the sidecar.
    """

    level: Level
    grid: sitk.Image
    values: tuple[Floats, ...]
    scales: tuple[Scale, ...]
    posterior: Floats
    side: Places | None
    samples: uncertainty.Sums
    facts: dict[str, Any]

    @cached_property
    def channels(self) -> NDArray[np.int64]:
        """The most probable class of each voxel, (Z, Y, X), from 1; 0 for the background."""
        return np.asarray(self.posterior.argmax(axis=0))

    @cached_property
    def labels(self) -> Labels:
        """The most probable label of each voxel, (Z, Y, X)."""
        return space.labelled(self.channels, self.level, self.side)

    def side_of(self, level: Level, grid: sitk.Image) -> Places:
        """Place of each voxel of a grid, (Z, Y, X), in the groups of a level after this one."""
        sums = volume.places(self.posterior, self.level, level, self.side)
        return np.asarray(space.stacked(sums, self.grid, grid).argmax(axis=0), np.uint8)

    def where(self, wanted: Sequence[int]) -> NDArray[np.bool_]:
        """Where any of these labels is, (Z, Y, X); a region is where one of its labels is asked."""
        if not self.level.regions:
            return np.isin(self.labels, wanted)
        asked = [n for n, group in enumerate(self.level.classes, 1) if set(group) & set(wanted)]
        return np.isin(self.channels, asked)


class Cascade:
    """Loaded once for any number of images.

    Args:
        bundle: of stage ``segment`` whose ``inputs.plan`` is a :class:`CascadePlan`.
        options: how it runs.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT; E-CONFIG-VALUE when dropout
            is asked for and the networks have none.
    """

    def __init__(self, bundle: Path, options: Options) -> None:
        loaded = load(bundle, NAME)
        self.plan = plan.in_bundle(loaded.metadata, str(bundle))
        names = [name for level in self.plan.levels for name in level.networks]
        if missing := set(names) - set(loaded.networks):
            what = f"The bundle lacks the networks {', '.join(sorted(missing))} of its plan"
            raise VoxelwayError("E-MODEL-INPUT", what, where=str(bundle))
        self.options = options
        self.device = device.choose()
        self.networks = {name: device.ready(loaded.networks[name], self.device) for name in names}
        self.factor = float(loaded.metadata.get("calibration", {}).get("interval_factor", 1.0))
        pairs = {int(row["index"]): row.get("pair") for row in self.plan.labels}
        self.pairs = {own: int(other) for own, other in pairs.items() if other is not None}
        if options.draws:
            _let_drop(self.networks.values(), str(bundle))
        torch.set_num_threads(threads.count())

    def __call__(
        self, channels: Sequence[sitk.Image], where: str, bounds: Bounds | None = None
    ) -> list[Found]:
        """Every level, from coarse to fine.

        Args:
            channels: of the plan's contrasts, on one grid.
            where: name for messages.
            bounds: outside of which nothing is found, if most of the first level lies inside.

        Raises:
            VoxelwayError: E-MODEL-INPUT for another number of channels, E-IMG-SLICES when the field
                of view is too small, E-SIGNAL without intensities, E-MASK-EMPTY when a level finds
                nothing to look into, E-MEMORY before more memory is asked for than there is.
        """
        asked = self.plan.contrasts
        if len(channels) != len(asked):
            what = f"{len(channels)} images, the model needs {len(asked)}: {', '.join(asked)}"
            raise VoxelwayError("E-MODEL-INPUT", what, where=where)
        # one seed an image: what came before it does not change its draws
        torch.manual_seed(self.options.seed)
        scene = Scene(tuple(volume.canonical(image) for image in channels), where)
        first = self._first(scene)
        if bounds is not None:
            share = bounds.share(first)
            first.facts["InsideMask"] = share
            if share >= TRUST:
                first, scene = bounds.kept(first), replace(scene, bounds=bounds)
        found = [first]
        for number in range(1, len(self.plan.levels)):
            found.append(self._next(scene, number, found[-1]))
        alike = self.plan.appearance if self.options.appearance else None
        if alike is not None:
            last, before = found[-1], found[-2] if len(found) > 1 else found[-1]
            found[-1] = borders.redrawn(scene.channels, before, last, alike, where)
        return found

    def _first(self, scene: Scene) -> Found:
        level = self.plan.levels[0]
        grid = volume.grid(scene.channels[0], level)
        if min(grid.GetSize()) < FEWEST:
            edges = np.multiply(grid.GetSize(), grid.GetSpacing())
            what = (
                f"The field of view of {' x '.join(f'{v:.0f}' for v in edges)} mm has fewer than "
                f"{FEWEST} voxels of {max(level.spacing):g} mm along an axis"
            )
            hint = "Give an image that shows the whole structure"
            raise VoxelwayError("E-IMG-SLICES", what, where=scene.where, hint=hint)
        values = _values(scene, grid)
        scales = tuple(volume.first_scale(one, self.plan.intensity, scene.where) for one in values)
        found = self._level(0, grid, values, scales, None, scene)
        self._check(found, scene.where)
        return found

    def _check(self, found: Found, where: str) -> None:
        """Refuse an image in which the first level finds nothing, or next to nothing."""
        known = uncertainty.training_volumes(self.plan.facts)
        names = {int(row["index"]): str(row["name"]) for row in self.plan.labels}
        least = sum(known.get(names[label], (0.0, 0.0))[0] for label in found.level.labels)
        mask = found.labels > 0
        mm3 = float(np.count_nonzero(mask) * np.prod(found.grid.GetSpacing()))
        rim = [mask.take(end, axis).any() for axis in range(3) for end in (0, -1)]
        if mm3 == 0 or (mm3 < FAINT * least and not any(rim)):
            what = f"The level {found.level.name} found {mm3 / 1000:.1f} ml"
            if least:
                what += f", the smallest training cases have {least / 1000:.1f} ml"
            raise VoxelwayError("E-MASK-EMPTY", what, where=where, hint=HINT)

    def _next(self, scene: Scene, number: int, before: Found) -> Found:
        level = self.plan.levels[number]
        whole = volume.grid(scene.channels[0], level)
        box, step = _box(level, whole, before, scene.where), max(level.margin, *level.spacing)
        kind = self.plan.intensity.kind
        inside = before.channels > 0
        scales = tuple(
            volume.next_scale(one, inside, scale, kind)
            for one, scale in zip(before.values, before.scales, strict=True)
        )
        for count in range(self.options.enlargements + 1):
            grid = box.cut(whole)
            found = self._level(number, grid, _values(scene, grid), scales, before, scene)
            # fragments far from everything else are no reason to look further
            part = images.like(cleanup.largest(found.labels > 0, 0.01), grid)
            touched = bool(level.crop) and crop.touches(part, box, whole.GetSize())
            wider = crop.enlarged(box, whole, step)
            if not touched or count == self.options.enlargements or wider == box:
                break
            box = wider
        found.facts.update({"Touched": touched, "Enlargements": count})
        return found

    def _level(
        self,
        number: int,
        grid: sitk.Image,
        values: tuple[Floats, ...],
        scales: tuple[Scale, ...],
        before: Found | None,
        scene: Scene,
    ) -> Found:
        level = self.plan.levels[number]
        channels = [scale(one) for scale, one in zip(scales, values, strict=True)]
        side, inside = None, None
        if before is not None:
            if level.context:
                told = volume.context(before.posterior, before.level, level)
                channels += list(space.stacked(told, before.grid, grid))
            if level.prior is not None:
                channels += list(self._laid(level, level.prior, before, grid))
            if level.split:
                side = before.side_of(level, grid)
            if level.inside:
                within = before.where(level.inside)
                inside = space.nearest(within, before.grid, grid)
        if scene.bounds is not None:
            near = scene.bounds.near(grid)
            inside = near if inside is None else inside & near
        image = torch.from_numpy(np.stack(channels))[None]
        route = self._route(level, image, scene.where)
        mirror = self._mirror(level, before, len(channels)) if self.options.mirror else None
        mean: Floats | None = None
        sums_of = []
        for share in self._samples(level, image, route, mirror):
            if inside is not None:
                share[1:, ~inside], share[0, ~inside] = 0.0, 1.0
            sums_of.append(uncertainty.sums(planes.divided(share, level), level.classes, side))
            mean = share if mean is None else np.add(mean, share, out=mean)
        assert mean is not None
        mean /= np.float32(len(sums_of))
        mean = planes.divided(mean, level)
        facts = {
            "Name": level.name,
            "Spacing": [round(float(v), 4) for v in grid.GetSpacing()],
            "Size": list(grid.GetSize()),
            "Windows": len(route.starts),
            "Samples": len(sums_of),
        }
        samples = np.stack(sums_of) * float(np.prod(grid.GetSpacing()))
        return Found(level, grid, values, scales, mean, side, samples, facts)

    def _laid(self, level: Level, place: PriorGrid, before: Found, grid: sitk.Image) -> Floats:
        """The level's atlas on a grid, laid by the centres of what the level before found."""
        centres = prior.centres(before.channels, len(before.level.classes), before.grid)
        shares = prior.of_network(self.networks[level.networks[0]])
        return prior.laid(shares, place, centres, grid)

    def _route(self, level: Level, image: Tensor, where: str) -> window.Way:
        """Windows over a level's image; refused before the memory does not suffice."""
        network = self.networks[level.networks[0]]
        shape = tuple(int(n) for n in image.shape[2:])
        route = window.way(shape, level.patch[::-1], window.divisor(network), self.options.overlap)
        several = 2 if self.options.mirror else 1
        kept = 4.0 * level.channels * np.prod(route.size) * (2 * several + 2)
        work = window.needed(network, int(image.shape[1]), route, several)
        told = f"Level {level.name} on {' x '.join(str(n) for n in shape[::-1])} voxels"
        if self.device.type != "cpu":
            memory.ask(work + kept, self.device, told, where)
            work = 0.0
        memory.ask(work + kept, torch.device("cpu"), told, where)
        return route

    def _mirror(
        self, level: Level, before: Found | None, inputs: int
    ) -> tuple[list[int], list[int]] | None:
        """Channels of the input and of the result when left and right change places."""
        order = uncertainty.mirrored(level.classes, self.pairs)
        told: list[int] | None = []
        if before is not None and level.context:
            classes = before.level.classes if before.level.regions else level.classes
            told = uncertainty.mirrored(classes, self.pairs)
        if order is None or told is None:
            return None
        laid = order if level.prior is not None else []
        own = inputs - len(told) - len(laid)
        given = [*range(own), *(own + n for n in told), *(own + len(told) + n for n in laid)]
        return given, [0, *(n + 1 for n in order)]

    def _samples(
        self,
        level: Level,
        image: Tensor,
        route: window.Way,
        mirror: tuple[list[int], list[int]] | None,
    ) -> Iterator[Floats]:
        """Posteriors (C, Z, Y, X) of every network, draw and mirrored image."""
        batch = image if mirror is None else torch.cat([image, image[:, mirror[0]].flip(-1)])
        for name in level.networks:
            for _ in range(max(1, self.options.draws)):
                scores = window.logits(self.networks[name], batch, route, self.device)
                shares = window.softmax(scores, level.temperature).cpu()
                yield shares[0].numpy()
                if mirror is not None:
                    yield shares[1].flip(-1)[mirror[1]].numpy()


def _values(scene: Scene, grid: sitk.Image) -> tuple[Floats, ...]:
    """The channels on a grid; of the image only what lies near it is looked at."""
    near = []
    for image in scene.channels:
        # the low-pass filter reaches a few voxels of the grid far
        reach = REACH * max(*grid.GetSpacing(), *image.GetSpacing())
        part = crop.enlarged(crop.of_grid(grid, image, scene.where), image, reach)
        near.append(images.array(volume.onto(part.cut(image), grid)))
    return tuple(near)


def _box(level: Level, whole: sitk.Image, before: Found, where: str) -> crop.Box:
    if not level.crop:
        return crop.Box((0, 0, 0), whole.GetSize())
    mask = before.where(level.crop)
    if not mask.any():
        what = f"The level {before.level.name} found nothing that {level.name} could look into"
        raise VoxelwayError("E-MASK-EMPTY", what, where=where, hint=HINT)
    return crop.around(images.like(mask, before.grid), whole, level.margin, where)


def _let_drop(networks: Any, where: str) -> None:
    """Let dropout draw while everything else is in the mode of evaluation."""
    for network in networks:
        layers = [m for m in network.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
        if not any(layer.p > 0 for layer in layers):
            what = "segment.cascade.dropout asks for draws, and the model has no dropout"
            hint = "Set it to 0, or train with segment.learning.dropout above 0"
            raise VoxelwayError("E-CONFIG-VALUE", what, where=where, hint=hint)
        for layer in layers:
            layer.train()
