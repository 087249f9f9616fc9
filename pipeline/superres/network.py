"""A super-resolution network of a bundle, on an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import device, images, threads
from pipeline.bundles.networks import load
from pipeline.denoise.noise import around, foreground
from pipeline.errors import VoxelwayError
from pipeline.restore import tiles
from pipeline.superres.backprojection import refine
from pipeline.superres.lattice import Fine, consistent, fine
from pipeline.superres.request import Method, Request, Restored

NAME = "superres"
Values = NDArray[np.float32]

#: Edge of the largest tile and what neighbours share, voxels.
TILE, OVERLAP = 112, 16
#: Memory for a voxel of a tile, bytes: features of a few layers at once.
BYTES_PER_VOXEL = 400.0
#: Share of the scale below which there is nothing to see.
AIR = 0.02


def create(params: Mapping[str, Any], model: Path | None, architecture: str) -> Method:
    """Load the network of a learned method.

    Args:
        params: section ``superres``; gives ``uncertainty`` and ``members``.
        model: bundle of stage ``superres``.
        architecture: that the method is of.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """
    assert model is not None  # methods.create has seen to it
    return Network(model, architecture, str(params["uncertainty"]), int(params["members"]))


class Network:
    """Loaded once for any number of images.

    Args:
        bundle: folder.
        architecture: that the bundle must be of.
        uncertainty: ``none``, ``mirror`` (the spread over mirrored and turned copies) or
            ``dropout`` (over networks with parts left out).
        members: results that the mean and the spread are of.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT; E-CONFIG-VALUE for
            dropout of a network that has none.
    """

    def __init__(self, bundle: Path, architecture: str, uncertainty: str, members: int) -> None:
        loaded = load(bundle, NAME)
        try:
            inputs = loaded.metadata["inputs"]
            self.given, self.contrasts = str(inputs["given"]), tuple(inputs["contrasts"])
            self.any_contrast = float(inputs["random_contrasts"]) > 0
            self.largest = float(inputs.get("factor", inputs["factors"][1]))
            self.guides = int(inputs.get("guides", 0))
            found = str(loaded.metadata["architecture"][NAME]["name"])
            network = loaded.networks[NAME]
        except (KeyError, TypeError, ValueError) as error:
            what = f"metadata.json lacks {error} of a super-resolution network"
            raise VoxelwayError("E-MODEL-INPUT", what, where=str(bundle)) from error
        if found != architecture:
            what = f"The bundle is of the architecture {found}, the method needs {architecture}"
            raise VoxelwayError("E-MODEL-INPUT", what, where=str(bundle))
        self.device = device.choose()
        self.network = device.ready(network, self.device)
        self.uncertainty, self.members = uncertainty, members
        if uncertainty == "dropout":
            _leave_out(self.network)
        torch.set_num_threads(threads.count())

    def __call__(self, request: Request) -> Restored:
        """The image on the grid.

        Raises:
            VoxelwayError: E-IMG-MODALITY for a contrast that it was not trained for, or a guide
                that is needed and not there.
        """
        notes = self._check(request)
        acquired = images.array(request.image)
        wanted = min(request.grid.GetSpacing())
        lattice = fine(request.image, request.profile, wanted, self._along(wanted))
        guide = self._guide(request, lattice)
        scale = scale_of(request.image)
        found = self._members(acquired / scale, lattice, guide)
        mean: Values = np.mean(np.stack(found), axis=0, dtype=np.float32)
        values = consistent(
            np.asarray(mean * scale), acquired, lattice, request.noise, max(1, request.iterations)
        )
        spread = None
        if len(found) > 1:
            deviation = np.std(found, axis=0, ddof=1, dtype=np.float32) * scale
            spread = _onto(deviation, lattice, request, order=1)
        if _aligned(lattice, request):
            return Restored(images.like(values, request.grid), spread, notes)
        # the grid's axes are others: interpolated once more, and corrected there
        turned = _onto(values, lattice, request, order=3)
        return Restored(refine(turned, request), spread, notes)

    def _check(self, request: Request) -> tuple[str, ...]:
        if self.guides and request.guide is None:
            what = f"{request.suffix or 'The image'} has no isotropic contrast beside it as a guide"
            hint = "Choose a method without a guide for it"
            raise VoxelwayError("E-IMG-INPUT", what, hint=hint)
        known = not request.suffix or request.suffix in self.contrasts
        if known:
            return ()
        trained = ", ".join(self.contrasts)
        if not self.any_contrast:
            what = f"The model was trained on {trained}, this is {request.suffix}"
            raise VoxelwayError("E-IMG-MODALITY", what, where=request.suffix)
        return (
            f"{request.suffix}: the model was trained on {trained} and on random contrasts made "
            f"of it, not on real {request.suffix}",
        )

    def _along(self, wanted: float) -> Callable[[float], float]:
        """Edge of a voxel along the normal: beyond the largest factor it stays coarser."""
        if self.given == "slices":
            return lambda distance: distance / self.largest
        return lambda distance: max(wanted, distance / self.largest)

    def _guide(self, request: Request, lattice: Fine) -> Values | None:
        if not self.guides or request.guide is None:
            return None
        there = images.resample(request.guide, lattice.grid, request.transform.GetInverse())
        return images.array(there) / np.float32(scale_of(request.guide))

    def _members(self, values: Values, lattice: Fine, guide: Values | None) -> list[Values]:
        """One result, or as many as the mean and the spread are of; (z, y, x), scaled."""
        normal = lattice.normal
        base = np.moveaxis(lattice.start(values), normal, 0)
        channels, told, factor = [base], lattice.condition(), 1
        if self.given == "slices":
            factor = round(lattice.spacings[normal])
            channels = [np.moveaxis(lattice.interpolated(values, normal=False), normal, 0)]
            told = told[:, ::factor]
        if guide is not None:
            channels.append(np.moveaxis(guide, normal, 0))
        found = []
        for member in range(1 if self.uncertainty == "none" else self.members):
            torch.manual_seed(member)
            way = member if self.uncertainty == "mirror" else 0
            given = [turned(one, way) for one in channels]
            made = self._restored(turned(base, way), given, _told(told, way), factor)
            found.append(np.ascontiguousarray(np.moveaxis(turned(made, way, back=True), 0, normal)))
        return found

    def _restored(
        self, base: Values, channels: Sequence[Values], told: NDArray[np.float32], factor: int
    ) -> Values:
        """The network where there is something to see, the spline in the air around."""
        result = np.ascontiguousarray(base)
        box = around(channels[0] > AIR, rim=OVERLAP)
        given = torch.from_numpy(np.stack([one[box] for one in channels]))
        fine_box = (slice(box[0].start * factor, box[0].stop * factor), *box[1:])
        result[fine_box] = self._run(given, told[:, box[0]], factor)
        return result

    def _run(self, given: Tensor, told: NDArray[np.float32], factor: int) -> Values:
        """Tile by tile; the condition goes along as channels that are constant in a plane."""
        count = len(given)
        rows = torch.from_numpy(np.ascontiguousarray(told))[..., None, None]
        both = torch.cat([given, rows.expand(-1, *given.shape[1:])])

        def tile(part: Tensor) -> Tensor:
            made = self._call(part[:, :count], part[:, count:, :, 0, 0])
            # the voxels of one slice as its channels: tiles are as large as what goes in
            _, _, depth, height, width = part.shape
            return made.reshape(1, depth, factor, height, width).movedim(2, 1)

        edge = tiles.fitting(BYTES_PER_VOXEL, 8, TILE, self.device)
        found = tiles.run(tile, both, edge, min(OVERLAP, edge // 4))
        return np.asarray(found.movedim(0, 1).flatten(0, 1).numpy())

    @torch.inference_mode()
    def _call(self, image: Tensor, told: Tensor) -> Tensor:
        with device.autocast(self.device):
            made: Tensor = self.network(image.to(self.device), told.to(self.device))
        return made


def scale_of(image: sitk.Image) -> np.float32:
    """Robust range of the foreground: the intensity that is 1 for a network, as in training.

    Raises:
        VoxelwayError: E-SIGNAL when the foreground is empty or constant.
    """
    values, inside = images.array(image), images.bool_array(foreground(image))
    low, high = np.percentile(values[inside], [0.5, 99.5]) if inside.any() else (0.0, 0.0)
    if not high > low:
        raise VoxelwayError("E-SIGNAL", "The image is constant in its foreground")
    return np.float32(high - low)


def turned(values: Values, way: int, *, back: bool = False) -> Values:
    """One of eight mirrored and turned copies of (Z, Y, X) that keep Z, or the way back."""
    flips = tuple(axis for axis, bit in ((1, 1), (2, 2)) if way & bit)
    if back and way & 4:
        values = values.swapaxes(1, 2)
    made: Values = np.flip(values, flips)
    return made.swapaxes(1, 2) if way & 4 and not back else made


def _told(told: NDArray[np.float32], way: int) -> NDArray[np.float32]:
    """The condition of a copy: where Y and X are exchanged their spacings are."""
    return told[[0, 1, 2, 3, 5, 4]] if way & 4 else told


def _leave_out(network: nn.Module) -> None:
    """Dropout stays on, where the network has one."""
    layers = [one for one in network.modules() if isinstance(one, nn.Dropout3d) and one.p > 0]
    if not layers:
        what = "superres.uncertainty is dropout, but the model was trained without it"
        hint = "Choose mirror, or train with dropout in network.arguments"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
    for one in layers:
        one.train()


def _aligned(lattice: Fine, request: Request) -> bool:
    same = images.same_grid(lattice.grid, request.grid)
    return same and request.transform.GetTransformEnum() == sitk.sitkIdentity


def _onto(values: Values, lattice: Fine, request: Request, *, order: int) -> sitk.Image:
    image = images.like(values, lattice.grid)
    if _aligned(lattice, request):
        return images.like(values, request.grid)
    return images.resample(image, request.grid, request.transform, order=order)
