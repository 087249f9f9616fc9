"""What is restored: sharp images of the user's or of the phantom, made worse in known ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import files, images
from pipeline.denoise.noise import foreground
from pipeline.errors import VoxelwayError
from pipeline.superres import profile, sampling


@dataclass(frozen=True)
class Task:
    """One way of making an image worse.

    Attributes:
        stage: ``denoise`` (Rician noise) or ``superres`` (thick slices).
        amount: noise as percent of the range, or thickness of the slices in mm.
    """

    stage: str
    amount: float

    @property
    def name(self) -> str:
        """As in the table."""
        unit = "% noise" if self.stage == "denoise" else " mm slices"
        return f"{self.amount:g}{unit}"


@dataclass(frozen=True)
class Reference:
    """A sharp image.

    Attributes:
        name: of the case.
        image: as it is.
        mask: where it is judged.
        extent: range of the intensities there, the 0.5th to the 99.5th percentile.
    """

    name: str
    image: sitk.Image
    mask: NDArray[np.bool_]
    extent: float


@dataclass(frozen=True)
class Given:
    """An image made worse.

    Attributes:
        image: what a method gets.
        sigma: standard deviation of its noise.
        thickness: of its slices, mm; None where they are as they were.
    """

    image: sitk.Image
    sigma: float
    thickness: float | None


def read(path: Path) -> Reference:
    """A sharp image; what is not empty, holes filled, is judged."""
    image = images.read_image(path)
    mask = ndimage.binary_fill_holes(images.bool_array(foreground(image)))
    assert mask is not None
    images.check_mask(images.like(mask, image), str(path))
    low, high = np.percentile(images.array(image)[mask], [0.5, 99.5])
    name = path.name.split(".")[0]
    shared = name if name.startswith("sub-") else f"{path.parent.name}_{name}"
    return Reference(shared, image, np.asarray(mask, dtype=bool), float(high - low))


def worse(reference: Reference, task: Task, axis: int, shape: str, seed: int) -> Given:
    """Make an image worse.

    Args:
        reference: the sharp image.
        task: how.
        axis: normal of thick slices (x, y, z = 0, 1, 2).
        shape: of the slice profile.
        seed: of the noise.

    Raises:
        VoxelwayError: E-CONFIG-VALUE when the slices would be thinner than they are, or
            another axis would be the one that the stage sharpens.
    """
    if task.stage == "denoise":
        sigma = task.amount / 100.0 * reference.extent
        return Given(noisy(reference.image, sigma, seed), sigma, None)
    if task.amount <= 1.2 * reference.image.GetSpacing()[axis]:
        what = f"{reference.name}: slices of {task.amount:g} mm are not thicker than its voxels"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint="Choose --thickness or --axis")
    made = thick(reference.image, axis, task.amount, shape)
    if int(np.argmax(made.GetSpacing())) != axis:
        what = (
            f"{reference.name}: its voxels are as long as slices of {task.amount:g} mm, or longer"
        )
        hint = "The stage sharpens along the longest side of the voxels; choose --thickness"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
    return Given(made, 0.0, task.amount)


def whole(reference: Reference, task: Task, axis: int) -> Reference:
    """The reference without its last voxels where they fill no whole slice of the task."""
    if task.stage != "superres":
        return reference
    image, voxel = reference.image, reference.image.GetSpacing()[axis]
    slices = int(image.GetSize()[axis] * voxel / task.amount + 1e-6)
    size = list(image.GetSize())
    size[axis] = min(size[axis], round(slices * task.amount / voxel))
    x, y, z = size
    return Reference(
        reference.name, image[:x, :y, :z], reference.mask[:z, :y, :x], reference.extent
    )


def noisy(image: sitk.Image, sigma: float, seed: int) -> sitk.Image:
    """With Rician noise of a deviation."""
    values = images.array(image)
    real, other = np.random.default_rng(seed).normal(0.0, sigma, (2, *values.shape))
    return images.like(np.hypot(values + real, other).astype(np.float32), image)


def thick(image: sitk.Image, axis: int, thickness: float, shape: str) -> sitk.Image:
    """Touching slices along one axis, each the object's mean under the profile."""
    x, y, z = (thickness if n == axis else length for n, length in enumerate(image.GetSpacing()))
    lattice = images.spaced_grid(image, (x, y, z))
    step = thickness / image.GetSpacing()[axis]
    middles = (np.arange(lattice.GetSize()[axis]) + 0.5) * step - 0.5
    along = 2 - axis
    values = images.array(image)
    matrices: list[sampling.Matrix | None] = [None, None, None]
    matrices[along] = sampling.slices(
        middles, profile.weights(step, shape, 1.0), values.shape[along]
    )
    return images.like(sampling.apply(matrices, values), lattice)


def contrast(path: Path) -> str:
    """Contrast that the name of a file ends with, as T2w; T1w where it tells none."""
    last = path.name.split(".")[0].rpartition("_")[2]
    return last if last[:1].isupper() else "T1w"


def beside(path: Path, suffix: str) -> Path:
    """File of another contrast of the same subject.

    Raises:
        VoxelwayError: E-IMG-MISSING when there is none.
    """
    name, dot, rest = path.name.partition(".")
    found = path.with_name(f"{name.removesuffix(contrast(path))}{suffix}{dot}{rest}")
    if not found.is_file():
        hint = f"--guide {suffix} needs it beside {path.name}"
        raise VoxelwayError("E-IMG-MISSING", "No guide", where=str(found), hint=hint)
    return found


def phantom(folder: Path, count: int, spacing: float, seed: int, suffix: str = "T1w") -> list[Path]:
    """A noise-free contrast of made-up subjects, made where they do not exist."""
    from pipeline.phantom.cohort import write_subject

    found = []
    for number in range(1, count + 1):
        name = f"P{number:03d}"
        path = folder / "truth" / name / f"{suffix}.nii.gz"
        if not path.is_file():
            write_subject(name, folder, spacing, seed + number)
        found.append(path)
    return found


def write(given: Given, path: Path) -> None:
    """What a method reads: the image, and the thickness of its slices beside it."""
    images.write_image(given.image, path)
    if given.thickness is not None:
        sidecar = path.with_name(path.name.split(".")[0] + ".json")
        files.write_json(sidecar, {"SliceThickness": given.thickness})


def tasks(noise: Sequence[float], thickness: Sequence[float]) -> list[Task]:
    """All tasks of a run."""
    return [Task("denoise", one) for one in noise] + [Task("superres", one) for one in thickness]
