"""Volumes of the interactive viewer: reduced to one small grid, 8 bits a voxel, NIfTI as text."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline.labels import Label
from pipeline.report.figures import paint
from pipeline.report.figures.geometry import Box, as_type, upright

#: What a volume shows, which decides its colours: grey, one colour a label, sequential, diverging.
Kind = Literal["image", "labels", "amount", "change"]

#: LPS, which ITK counts in, to RAS, which NIfTI counts in.
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Volume:
    """One layer of the viewer.

    Attributes:
        key: its name in the page's data.
        name: its name for people.
        kind: what it shows.
        image: values on the viewer's grid.
        low, high: values at the ends of the scale; what lies beyond is shown as the end.
        labels: meaning and colours of the values of ``labels``.
        base: it fills the picture; others lie over one.
        synthetic: made, not acquired.
    """

    key: str
    name: str
    kind: Kind
    image: sitk.Image
    low: float = 0.0
    high: float = 1.0
    labels: tuple[Label, ...] = ()
    base: bool = False
    synthetic: bool = False


def lattice(reference: sitk.Image, box: Box, spacing: float) -> sitk.Image:
    """Empty isotropic grid along the axes of an upright image.

    Args:
        reference: gives axes and origin.
        box: what is covered, mm from the first voxel's centre.
        spacing: mm a voxel.
    """
    head = upright(reference)
    axes = np.asarray(head.GetDirection()).reshape(3, 3)
    low = np.asarray(box.low)
    size = [max(1, round(box.extent(axis) / spacing)) for axis in range(3)]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetDirection(head.GetDirection())
    grid.SetOrigin((np.asarray(head.GetOrigin()) + axes @ (low + spacing / 2)).tolist())
    grid.SetSpacing([spacing] * 3)
    return grid


def sampled(
    image: sitk.Image,
    grid: sitk.Image,
    moves: sitk.Transform | None = None,
    *,
    nearest: bool = False,
    outside: float = 0.0,
) -> sitk.Image:
    """An image on the viewer's grid; finer voxels are averaged, labels are picked.

    Args:
        image: scalar image on any lattice.
        grid: the viewer's grid.
        moves: maps points of the grid's space to points of the image's space.
        nearest: pick the nearest voxel instead.
        outside: value beyond the image.
    """
    moves = moves or sitk.Transform(3, sitk.sitkIdentity)
    if nearest:
        return sitk.Resample(image, grid, moves, sitk.sitkNearestNeighbor, outside)
    wanted = grid.GetSpacing()[0]
    factors = [
        max(1, min(round(wanted / have), size))
        for have, size in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    real = as_type(image, sitk.sitkFloat32)
    small = sitk.BinShrink(real, factors) if max(factors) > 1 else real
    return sitk.Resample(small, grid, moves, sitk.sitkLinear, outside)


def encode(volume: Volume) -> dict[str, Any]:
    """A volume as the page's data: what it is, and a gzipped NIfTI in base64.

    A volume of labels keeps its values; others become 0 to 255 between ``low`` and ``high``, with
    the slope and intercept that give the values back.
    """
    values = sitk.GetArrayFromImage(volume.image)
    if volume.kind == "labels":
        levels, slope, intercept = values.astype(np.uint8), 1.0, 0.0
    else:
        intercept, slope = volume.low, max(volume.high - volume.low, 1e-9) / 255.0
        levels = np.clip(np.rint((values - intercept) / slope), 0, 255).astype(np.uint8)
    content = _nifti(levels, volume.image, slope, intercept, labels=volume.kind == "labels")
    return {
        "key": volume.key,
        "name": volume.name,
        "kind": volume.kind,
        "base": volume.base,
        "synthetic": volume.synthetic,
        "low": volume.low,
        "high": volume.high,
        "labels": [_label(label) for label in volume.labels],
        "data": base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii"),
    }


def _label(label: Label) -> Mapping[str, Any]:
    return {"index": label.index, "name": label.name, "color": paint.rgb(label.color)}


def _nifti(
    levels: NDArray[np.uint8], grid: sitk.Image, slope: float, intercept: float, *, labels: bool
) -> bytes:
    """NIfTI-1 in one piece; ``levels`` in the order z, y, x."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(levels.shape[::-1])
    header.set_xyzt_units("mm")
    affine = ras_affine(grid)
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    header.set_slope_inter(slope, intercept)
    if labels:
        header.set_intent("label")
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    return bytes(header.binaryblock) + b"\0" * 4 + levels.tobytes()


def ras_affine(grid: sitk.Image) -> NDArray[np.float64]:
    """Voxel to RAS mm, 4 x 4."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(grid.GetDirection()).reshape(3, 3) * np.asarray(grid.GetSpacing())
    affine[:3, 3] = grid.GetOrigin()
    found: NDArray[np.float64] = _TO_RAS @ affine
    return found


def ras(point: Sequence[float]) -> tuple[float, float, float]:
    """A point of LPS space in RAS, mm, rounded to a tenth."""
    x, y, z = point
    return round(-x, 1) + 0.0, round(-y, 1) + 0.0, round(z, 1) + 0.0
