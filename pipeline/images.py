"""The one reader and writer of images, and what every stage asks of an image.

Images are ``SimpleITK.Image`` in LPS, millimetres. Arrays made from them are ordered (z, y, x).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813  (the name its documentation uses)
from numpy.typing import NDArray

from pipeline import files
from pipeline.errors import VoxelwayError

#: Fewest voxels along any axis that a three-dimensional method can work on.
MIN_SLICES = 4


def read_image(path: Path, *, min_slices: int = MIN_SLICES) -> sitk.Image:
    """Read a scalar 3D image as float32 and refuse what no stage can do right.

    Args:
        path: NIfTI (or any format ITK reads).
        min_slices: fewest voxels along any axis.

    Raises:
        VoxelwayError: E-IMG-* with the observed values.
    """
    image = _read(path)
    check_image(image, str(path), min_slices=min_slices)
    return sitk.Cast(image, sitk.sitkFloat32)


def read_labels(path: Path) -> sitk.Image:
    """Read a 3D label image as uint16 (uint8 masks too).

    Raises:
        VoxelwayError: E-IMG-* or E-LABELS when values are not whole numbers in 0..65535.
    """
    image = _read(path)
    check_geometry(image, str(path), min_slices=1)
    values = sitk.GetArrayViewFromImage(image)
    if values.dtype.kind == "f" and not np.array_equal(values, np.round(values)):
        raise VoxelwayError("E-LABELS", "The labels are not whole numbers", where=str(path))
    if values.min() < 0 or values.max() > 65535:
        span = f"{values.min()}..{values.max()}"
        raise VoxelwayError("E-LABELS", f"Labels run over {span}, not 0..65535", where=str(path))
    return sitk.Cast(image, sitk.sitkUInt16)


def read_field(path: Path) -> sitk.Image:
    """Read a displacement field: a 3D image of 3-vectors in LPS millimetres, float64."""
    image = _read(path)
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 3:
        raise VoxelwayError("E-IMG-4D", "No 3D field of 3-vectors", where=str(path))
    return sitk.Cast(image, sitk.sitkVectorFloat64)


def _read(path: Path) -> sitk.Image:
    if not path.is_file():
        raise VoxelwayError("E-IMG-MISSING", "The image does not exist", where=str(path))
    if path.name.endswith((".nii", ".nii.gz")):
        _check_nifti(path)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        text = str(error)
        if "orthonormal" in text or "singular" in text.lower():
            what = "The axes of the affine are not orthogonal, or it is singular"
            raise VoxelwayError("E-IMG-AFFINE", what, where=str(path)) from error
        reason = text.strip().splitlines()[-1][:200]
        raise VoxelwayError("E-IMG-UNREADABLE", reason, where=str(path)) from error


def _check_nifti(path: Path) -> None:
    """Refuse a NIfTI that ends early or holds NaN: ITK fills and zeroes those without a word."""
    import nibabel as nib

    try:
        values = nib.load(path).dataobj.get_unscaled()
    except Exception as error:  # nibabel raises many kinds, zlib's and its own among them
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        hint = "It was cut off or is no NIfTI; copy or convert it again"
        raise VoxelwayError("E-IMG-UNREADABLE", reason, where=str(path), hint=hint) from error
    if values.dtype.kind == "f":
        bad = int(values.size - np.count_nonzero(np.isfinite(values)))
        if bad:
            raise VoxelwayError("E-IMG-NAN", f"{bad} voxels are NaN or infinite", where=str(path))


def check_geometry(image: sitk.Image, where: str, *, min_slices: int) -> None:
    """Refuse images that are not 3D, scalar, of sound direction and of enough slices."""
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        size = "x".join(str(n) for n in image.GetSize())
        channels = image.GetNumberOfComponentsPerPixel()
        what = f"Size {size} with {channels} values a voxel, expected one 3D volume"
        hint = "Split a time series into volumes first"
        raise VoxelwayError("E-IMG-4D", what, where=where, hint=hint)
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    spacing = np.asarray(image.GetSpacing())
    sound = np.isfinite(direction).all() and np.isfinite(spacing).all() and (spacing > 0).all()
    if not sound or abs(abs(np.linalg.det(direction)) - 1.0) > 1e-3:
        raise VoxelwayError("E-IMG-AFFINE", f"Singular affine, spacing {spacing}", where=where)
    if min(image.GetSize()) < min_slices:
        what = f"Size {image.GetSize()}, at least {min_slices} voxels a side are needed"
        raise VoxelwayError("E-IMG-SLICES", what, where=where)


def check_image(image: sitk.Image, where: str, *, min_slices: int = MIN_SLICES) -> None:
    """Refuse what :func:`read_image` refuses, for an image in memory."""
    check_geometry(image, where, min_slices=min_slices)
    values = sitk.GetArrayViewFromImage(image)
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise VoxelwayError("E-IMG-NAN", f"{bad} voxels are NaN or infinite", where=where)
    if float(values.min()) == float(values.max()):
        what = f"Every voxel is {float(values.min()):g}"
        raise VoxelwayError("E-IMG-EMPTY", what, where=where)


def check_mask(mask: sitk.Image, where: str, *, min_ml: float = 0.0) -> None:
    """Refuse a mask that is empty or smaller than ``min_ml`` millilitres."""
    voxels = int(np.count_nonzero(sitk.GetArrayViewFromImage(mask)))
    volume = voxels * float(np.prod(mask.GetSpacing())) / 1000.0
    if voxels == 0 or volume < min_ml:
        what = f"The mask holds {voxels} voxels, {volume:.1f} ml"
        raise VoxelwayError("E-MASK-EMPTY", what, where=where)


def same_grid(a: sitk.Image, b: sitk.Image, tolerance: float = 1e-3) -> bool:
    """Whether two images share size, spacing, origin and direction (``tolerance`` in mm)."""
    return bool(
        a.GetSize() == b.GetSize()
        and np.allclose(a.GetSpacing(), b.GetSpacing(), atol=tolerance)
        and np.allclose(a.GetOrigin(), b.GetOrigin(), atol=tolerance)
        and np.allclose(a.GetDirection(), b.GetDirection(), atol=tolerance)
    )


def check_same_grid(a: sitk.Image, b: sitk.Image, where: str) -> None:
    """Refuse two images that must share a grid and do not."""
    if not same_grid(a, b):
        what = (
            f"Sizes {a.GetSize()} and {b.GetSize()}, spacings "
            f"{np.round(a.GetSpacing(), 3).tolist()} and {np.round(b.GetSpacing(), 3).tolist()}"
        )
        raise VoxelwayError("E-IMG-GRID", what, where=where, hint="Resample one onto the other")


def write_image(image: sitk.Image, path: Path) -> None:
    """Write an image whole: temporary name in the same folder, then a rename.

    Raises:
        VoxelwayError: E-DISK-FULL, E-DIR-WRITE.
    """
    with files.atomic(path) as part:
        try:
            sitk.WriteImage(image, str(part), useCompression=path.name.endswith(".gz"))
        except RuntimeError as error:
            _raise_reason(part)
            reason = str(error).strip().splitlines()[-1][:200]
            raise VoxelwayError("E-DIR-WRITE", reason, where=str(path)) from error
        if not _is_whole(image, part):
            # ITK writes on over a full disk without a word
            _raise_reason(part)
            raise VoxelwayError("E-DISK-FULL", "The image could not be written", where=str(path))


def _is_whole(image: sitk.Image, path: Path) -> bool:
    """Whether a written file is as long as its voxels; gzip's trailer tells its content's size."""
    item = sitk.GetArrayViewFromImage(image).dtype.itemsize
    voxels = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel() * item
    size = path.stat().st_size
    if path.name.endswith(".gz"):
        with path.open("rb") as handle:
            handle.seek(max(0, size - 4))
            length = int.from_bytes(handle.read(4), "little")
        return bool(voxels <= length + (voxels >> 32 << 32) <= voxels + 4096)
    return bool(size >= voxels)


def _raise_reason(path: Path) -> None:
    """Write plain bytes to a file that ITK could not write, for the operating system's reason."""
    with path.open("wb") as handle:
        handle.write(b"\0" * (1 << 20))


def array(image: sitk.Image) -> NDArray[np.float32]:
    """Voxels as float32, (z, y, x), a copy."""
    values: NDArray[np.float32] = sitk.GetArrayFromImage(image).astype(np.float32)
    return values


def bool_array(mask: sitk.Image) -> NDArray[np.bool_]:
    """Voxels of a mask as bool, (z, y, x), a copy."""
    return np.asarray(sitk.GetArrayViewFromImage(mask) != 0)


def like(values: NDArray[np.generic], reference: sitk.Image) -> sitk.Image:
    """Image of (z, y, x) ``values`` on the grid of ``reference``; bool becomes uint8."""
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    image.CopyInformation(reference)
    return image


def resample(
    image: sitk.Image,
    reference: sitk.Image,
    transform: sitk.Transform | None = None,
    *,
    labels: bool = False,
    order: int = 3,
    default: float = 0.0,
) -> sitk.Image:
    """Resample onto the grid of ``reference``.

    Args:
        image: image or labels.
        reference: gives the grid.
        transform: maps points of ``reference`` to points of ``image`` (ITK's convention).
        labels: nearest neighbour, the type is kept.
        order: 1 linear, 3 cubic B-spline; the result is float32.
        default: value outside the image.
    """
    transform = transform or sitk.Transform(3, sitk.sitkIdentity)
    if labels:
        return sitk.Resample(
            image, reference, transform, sitk.sitkNearestNeighbor, default, image.GetPixelID()
        )
    interpolator = sitk.sitkLinear if order == 1 else sitk.sitkBSpline
    return sitk.Resample(image, reference, transform, interpolator, default, sitk.sitkFloat32)


def grid(
    size: tuple[int, int, int], spacing: tuple[float, float, float], like_image: sitk.Image
) -> sitk.Image:
    """Empty uint8 image that covers the field of view of ``like_image`` on another lattice.

    The outer faces of the first voxels coincide, so that no half-voxel shift appears.
    """
    result = sitk.Image(list(size), sitk.sitkUInt8)
    result.SetSpacing(spacing)
    result.SetDirection(like_image.GetDirection())
    shift = (np.asarray(spacing) - np.asarray(like_image.GetSpacing())) / 2.0
    direction = np.asarray(like_image.GetDirection()).reshape(3, 3)
    result.SetOrigin((np.asarray(like_image.GetOrigin()) + direction @ shift).tolist())
    return result


def spaced_grid(image: sitk.Image, spacing: tuple[float, float, float]) -> sitk.Image:
    """Grid over the field of view of ``image`` with the given spacing in mm."""
    extent = np.asarray(image.GetSize()) * np.asarray(image.GetSpacing())
    size = np.maximum(1, np.round(extent / np.asarray(spacing))).astype(int)
    return grid((int(size[0]), int(size[1]), int(size[2])), spacing, image)
