"""A second opinion on a converted image: its grid and voxels against the DICOM headers."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import VoxelwayError
from pipeline.ingest.source import Geometry, Source

#: Millimetres that a corner may be off; dcm2niix stores the affine in single precision.
CORNER_MM = 0.05

Array = NDArray[np.float64]


def check(nifti: bytes, source: Source, suffix: str, slices: int) -> dict[str, Any]:
    """Compare a converted image with the headers that it came from.

    Args:
        nifti: bytes of the file.
        source: record of the index.
        suffix: ``_Eq``, ``_Tilt``, ``_Tilt_Eq`` when dcm2niix resampled the slices.
        slices: how many slices are compared voxel by voxel, where they were not resampled.

    Returns:
        Facts for the sidecar.

    Raises:
        VoxelwayError: D-GEOMETRY with what differs.
    """
    image = _load(nifti)
    shape = tuple(int(n) for n in image.shape)
    affine = np.asarray(image.affine, dtype=np.float64)
    if len(shape) != 3:
        raise _differs(f"the image has {len(shape)} dimensions: several volumes in one series")
    _right_angled(affine)
    if suffix:
        return {"GeometryChecked": "right angles only, because the slices were resampled"}
    expected = source.geometry
    wanted = (expected.columns, expected.rows, expected.slices)
    if sorted(shape) != sorted(wanted):
        raise _differs(f"size {shape} in place of {wanted}")
    off = _farthest(_corners(affine, shape), header_corners(expected))
    if off > CORNER_MM:
        raise _differs(f"a corner lies {off:.2f} mm from where the headers place it")
    compared = _compare(image, affine, source, slices)
    return {
        "GeometryChecked": "size, corners and voxels",
        "GeometryErrorMM": round(off, 4),
        "SlicesCompared": compared,
    }


def _load(nifti: bytes) -> Any:
    import nibabel as nib

    try:
        image = nib.Nifti1Image.from_stream(io.BytesIO(nifti))
        np.asarray(image.dataobj[..., -1])
    except Exception as error:
        raise _differs(f"the image can't be read back ({type(error).__name__})") from error
    return image


def _differs(what: str) -> VoxelwayError:
    hint = "Convert the series by hand and compare; it was not used"
    return VoxelwayError("D-GEOMETRY", f"After conversion, {what}", hint=hint)


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


def _compare(image: Any, affine: Array, source: Source, count: int) -> int:
    """Compare voxels of some slices with the pixels of the DICOM files; how many were compared."""
    geometry = source.geometry
    if count == 0 or not source.files:
        return 0
    # the ends and the middle are the slices that a wrong order can't leave in place
    chosen = np.unique(np.linspace(0, geometry.slices - 1, count + 2).astype(int)[:-1])
    compared = 0
    for number in chosen[:count]:
        pixels = _pixels(source, int(number))
        if pixels is None or float(pixels.std()) == 0.0:
            continue
        voxels = _slice_at(image, affine, geometry, int(number))
        if float(voxels.std()) == 0.0 or np.corrcoef(pixels.ravel(), voxels.ravel())[0, 1] < 0.999:
            raise _differs(f"the voxels of slice {number + 1} are not those of its file")
        compared += 1
    return compared


def _pixels(source: Source, number: int) -> Array | None:
    """Stored pixels of one slice, None where pydicom has no decoder for them."""
    import pydicom

    frames = source.geometry.slices
    one_each = len(source.files) == frames
    if not one_each and len(source.files) != 1:
        return None
    item = source.files[number if one_each else 0]
    try:
        dataset = pydicom.dcmread(item.path, force=True)
        pixels = dataset.pixel_array
    except Exception:
        # compressed with something that only dcm2niix decodes, or a frame order not known here
        return None
    if one_each:
        return np.asarray(pixels, dtype=np.float64) if pixels.ndim == 2 else None
    if pixels.ndim != 3 or len(pixels) != frames:
        return None
    return np.asarray(pixels[_frame_at(dataset, source.geometry, number)], dtype=np.float64)


def _frame_at(dataset: Any, geometry: Geometry, number: int) -> int:
    """Index of the frame at a slice's position."""
    wanted = _slice_start(geometry, number)
    starts = [
        [float(x) for x in item.PlanePositionSequence[0].ImagePositionPatient]
        for item in dataset.PerFrameFunctionalGroupsSequence
    ]
    return int(np.linalg.norm(np.asarray(starts) - wanted, axis=1).argmin())


def _slice_start(geometry: Geometry, number: int) -> Array:
    first, last = np.asarray(geometry.first), np.asarray(geometry.last)
    return np.asarray(first + (last - first) * number / max(1, geometry.slices - 1))


def _slice_at(image: Any, affine: Array, geometry: Geometry, number: int) -> Array:
    """Voxels of the image at the places where the headers put the pixels of one slice."""
    start = _slice_start(geometry, number)
    row, column = np.asarray(geometry.orientation[:3]), np.asarray(geometry.orientation[3:])
    i = np.arange(geometry.columns) * geometry.spacing[0]
    j = np.arange(geometry.rows) * geometry.spacing[1]
    lps = start + i[None, :, None] * row + j[:, None, None] * column
    ras = lps * [-1.0, -1.0, 1.0]
    inverse = np.linalg.inv(affine)
    index = np.rint(ras @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    index = np.clip(index, 0, np.asarray(image.shape) - 1)
    values = np.asarray(image.dataobj.get_unscaled())
    return np.asarray(values[index[..., 0], index[..., 1], index[..., 2]], dtype=np.float64)
