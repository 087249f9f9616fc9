"""A second opinion on a converted image: its grid and voxels against the DICOM headers."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import VoxelwayError
from pipeline.images import MIN_SLICES
from pipeline.ingest import slices as pixels_of
from pipeline.ingest.source import Geometry, Source

#: Millimetres that a corner may be off; dcm2niix stores the affine in single precision.
CORNER_MM = 0.05
#: Correlation of a slice with its pixels: as acquired, where it differs by a scale and rounding
#: only, and after interpolation.
EQUAL, NEAR = 0.999, 0.9

Array = NDArray[np.float64]


def usable(nifti: bytes | bytearray, where: str) -> None:
    """Refuse what no stage can work on; a converted image is right-angled and finite already.

    Raises:
        VoxelwayError: E-IMG-SLICES, E-IMG-EMPTY.
    """
    values, _ = _load(nifti)
    if min(values.shape) < MIN_SLICES:
        told = _times(values.shape)
        what = f"Size {told}, at least {MIN_SLICES} voxels a side are needed"
        raise VoxelwayError("E-IMG-SLICES", what, where=where)
    if values.min() == values.max():
        raise VoxelwayError("E-IMG-EMPTY", f"All voxels are {values.max():g}", where=where)


def check(nifti: bytes | bytearray, source: Source, suffix: str, slices: int) -> dict[str, Any]:
    """Compare a converted image with the headers that it came from.

    Args:
        nifti: bytes of the file.
        source: record of the index.
        suffix: ``_Eq``, ``_Tilt``, ``_Tilt_Eq`` when dcm2niix resampled the slices.
        slices: how many slices are compared voxel by voxel; of resampled images those at the
            ends, of compressed ones all.

    Returns:
        Facts for the sidecar.

    Raises:
        VoxelwayError: D-GEOMETRY with what differs; D-UNREADABLE when pixels can't be decoded.
    """
    values, affine = _load(nifti)
    shape = values.shape
    if len(shape) != (4 if source.volumes > 1 else 3) or shape[3:] not in ((), (source.volumes,)):
        raise _differs(f"the image is {_times(shape)}, {source.volumes} volumes were expected")
    _right_angled(affine)
    _finite(values)
    if suffix:
        compared = _compare(values, affine, source, [0, source.geometry.slices - 1][:slices], NEAR)
        told = "right angles and outer slices, because the slices were resampled"
        return {"GeometryChecked": told, "SlicesCompared": compared}
    expected = source.geometry
    wanted = (expected.columns, expected.rows, expected.slices)
    if sorted(shape[:3]) != sorted(wanted):
        raise _differs(f"size {shape[:3]} in place of {wanted}")
    off = _farthest(_corners(affine, shape[:3]), header_corners(expected))
    if off > CORNER_MM:
        raise _differs(f"a corner lies {off:.2f} mm from where the headers place it")
    compared = _compare(values, affine, source, _chosen(source, slices), EQUAL)
    return {
        "GeometryChecked": "size, corners and voxels",
        "GeometryErrorMM": round(off, 4),
        "SlicesCompared": compared,
    }


def _chosen(source: Source, count: int) -> list[int]:
    """The slices to compare; all where the pixels are compressed, because damage may be in any."""
    if source.compressed and count:
        return list(range(source.geometry.slices))
    # the ends and the middle are the slices that a wrong order can't leave in place
    last = source.geometry.slices - 1
    return [int(n) for n in np.unique(np.linspace(0, last, count + 2).astype(int)[:-1])[:count]]


def _load(nifti: bytes | bytearray) -> tuple[NDArray[Any], Array]:
    """Voxels as they are stored, (x, y, z[, t]), without a copy; the affine, RAS mm."""
    import nibabel as nib

    try:
        header = nib.Nifti1Header.from_fileobj(io.BytesIO(nifti[:352]))
        shape, kind = header.get_data_shape(), header.get_data_dtype()
        values = np.frombuffer(nifti, kind, math.prod(shape), int(header["vox_offset"]))
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except Exception as error:
        raise _differs(f"the image can't be read back ({type(error).__name__})") from error
    return values.reshape(shape, order="F"), affine


def _differs(what: str) -> VoxelwayError:
    hint = "Convert the series by hand and compare; it was not used"
    return VoxelwayError("D-GEOMETRY", f"After conversion, {what}", hint=hint)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _finite(values: NDArray[Any]) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise _differs("the image holds NaN or infinite values")


def _right_angled(affine: Array) -> None:
    axes = affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or (spacing <= 0).any():
        raise _differs("the affine is singular")
    cosines = axes.T @ axes / np.outer(spacing, spacing)
    worst = float(np.abs(cosines - np.eye(3)).max())
    if worst > 1e-3:
        raise _differs(f"the axes are not perpendicular (cosine {worst:.4f})")


def header_corners(geometry: Geometry) -> Array:
    """Centres of the eight corner voxels in LPS mm, from the headers alone, (8, 3)."""
    row, column = np.asarray(geometry.orientation[:3]), np.asarray(geometry.orientation[3:])
    across = row * geometry.spacing[0] * (geometry.columns - 1)
    down = column * geometry.spacing[1] * (geometry.rows - 1)
    return np.asarray(
        [
            np.asarray(start) + i * across + j * down
            for start in (geometry.first, geometry.last)
            for i in (0, 1)
            for j in (0, 1)
        ]
    )


def _corners(affine: Array, shape: tuple[int, ...]) -> Array:
    ends = [(0, n - 1) for n in shape]
    index = np.asarray([(i, j, k, 1) for i in ends[0] for j in ends[1] for k in ends[2]])
    ras = (affine @ index.T).T[:, :3]
    return np.asarray(ras * [-1.0, -1.0, 1.0])


def _farthest(found: Array, expected: Array) -> float:
    """Largest distance of an expected corner from the nearest found one."""
    distance = np.linalg.norm(found[:, None, :] - expected[None, :, :], axis=2)
    return float(max(distance.min(axis=0).max(), distance.min(axis=1).max()))


def _compare(
    values: NDArray[Any], affine: Array, source: Source, chosen: Sequence[int], least: float
) -> int:
    """Compare voxels of some slices with the pixels of the DICOM files; how many were compared."""
    compared = 0
    if not source.files:
        return compared
    values = values if values.ndim == 4 else values[..., None]
    for volume in sorted({0, source.volumes - 1}):
        for number in chosen:
            pixels = pixels_of.stored(source, volume, number)
            if pixels is None or float(pixels.std()) == 0.0:
                continue
            index = _index(affine, source.geometry, number)
            alike = [_correlation(_sampled(v, index), pixels) for v in _others(values, volume)]
            if alike[0] < least:
                what = f"the voxels of slice {number + 1} are not those of its file"
                raise _differs(f"{what} (correlation {alike[0]:.3f})")
            if max(alike) > alike[0] + 1e-6:
                raise _differs(f"volume {volume + 1} is not in its place")
            compared += 1
    return compared


def _others(values: NDArray[Any], volume: int) -> list[NDArray[Any]]:
    """One volume, and then its neighbours in time and the two at the ends."""
    count = values.shape[3]
    wanted = [volume, volume - 1, volume + 1, 0, count - 1]
    return [values[..., n] for n in dict.fromkeys(wanted) if 0 <= n < count]


def _correlation(voxels: Array, pixels: Array) -> float:
    if float(voxels.std()) == 0.0:
        return 0.0
    return float(np.corrcoef(pixels.ravel(), voxels.ravel())[0, 1])


def _index(affine: Array, geometry: Geometry, number: int) -> Array:
    """Voxel coordinates of the pixels of one slice, where the headers put them, (3, n, m)."""
    first, last = np.asarray(geometry.first), np.asarray(geometry.last)
    start = first + (last - first) * number / max(1, geometry.slices - 1)
    row, column = np.asarray(geometry.orientation[:3]), np.asarray(geometry.orientation[3:])
    i = np.arange(geometry.columns) * geometry.spacing[0]
    j = np.arange(geometry.rows) * geometry.spacing[1]
    lps = start + i[None, :, None] * row + j[:, None, None] * column
    inverse = np.linalg.inv(affine)
    index = (lps * [-1.0, -1.0, 1.0]) @ inverse[:3, :3].T + inverse[:3, 3]
    return np.asarray(np.moveaxis(index, -1, 0))


def _sampled(values: NDArray[Any], index: Array) -> Array:
    """Values at voxel coordinates, linear; on the grid itself they are the voxels."""
    from scipy.ndimage import map_coordinates

    # in single precision an index is off by some thousandths: that is no interpolation
    near = np.rint(index)
    place = np.where(np.abs(index - near) < 0.02, near, index)
    # only the slab around the slice is turned into floats
    edge = np.asarray(values.shape) - 1
    low = np.clip(np.floor(place.min(axis=(1, 2))).astype(int) - 1, 0, edge)
    high = np.ceil(place.max(axis=(1, 2))).astype(int) + 2
    slab = values[tuple(slice(a, max(a + 1, b)) for a, b in zip(low, high, strict=True))]
    found = map_coordinates(
        slab.astype(np.float64), place - low[:, None, None], order=1, mode="nearest"
    )
    return np.asarray(found)
