"""What the one reader refuses, and what it gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.errors import VoxelwayError


def volume(values: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing((1.0, 2.0, 3.0))
    return image


@pytest.fixture
def ramp() -> sitk.Image:
    return volume(np.arange(6 * 5 * 4).reshape(6, 5, 4))


def save(image: sitk.Image, folder: Path) -> Path:
    path = folder / "image.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


def code_of(path: Path) -> str:
    with pytest.raises(VoxelwayError) as caught:
        images.read_image(path)
    assert str(path) in str(caught.value)
    return caught.value.code


def test_round_trip_keeps_voxels_and_geometry(ramp: sitk.Image, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "image.nii.gz"
    images.write_image(ramp, path)
    back = images.read_image(path)
    assert images.same_grid(ramp, back)
    assert np.array_equal(images.array(ramp), images.array(back))
    assert [p.name for p in path.parent.iterdir()] == ["image.nii.gz"]


def test_missing(tmp_path: Path) -> None:
    assert code_of(tmp_path / "none.nii.gz") == "E-IMG-MISSING"


def test_not_an_image(tmp_path: Path) -> None:
    path = tmp_path / "text.nii.gz"
    path.write_text("hello")
    assert code_of(path) == "E-IMG-UNREADABLE"


def test_truncated(ramp: sitk.Image, tmp_path: Path) -> None:
    path = save(volume(np.random.default_rng(0).normal(size=(20, 20, 20))), tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    assert code_of(path) == "E-IMG-UNREADABLE"


def test_4d(tmp_path: Path) -> None:
    image = sitk.JoinSeries([volume(np.random.rand(5, 5, 5))] * 3)
    assert code_of(save(image, tmp_path)) == "E-IMG-4D"


def test_nan(ramp: sitk.Image, tmp_path: Path) -> None:
    ramp[1, 1, 1] = float("nan")
    ramp[2, 2, 2] = float("inf")
    assert code_of(save(ramp, tmp_path)) == "E-IMG-NAN"


def test_constant(tmp_path: Path) -> None:
    assert code_of(save(volume(np.full((5, 5, 5), 7.0)), tmp_path)) == "E-IMG-EMPTY"


def test_few_slices(tmp_path: Path) -> None:
    assert code_of(save(volume(np.random.rand(2, 9, 9)), tmp_path)) == "E-IMG-SLICES"


def test_sheared_affine(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.eye(4)
    affine[0, 1] = 0.7
    path = tmp_path / "sheared.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.random.rand(6, 6, 6), affine), path)
    assert code_of(path) == "E-IMG-AFFINE"


def test_labels_must_be_whole_numbers(tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError) as caught:
        images.read_labels(save(volume(np.random.rand(5, 5, 5)), tmp_path))
    assert caught.value.code == "E-LABELS"


def test_coarser_grid_covers_the_same_field_of_view(ramp: sitk.Image) -> None:
    # x: 4 voxels of 1 mm from -0.5 to 3.5; 2 voxels of 2 mm have centres 0.5 and 2.5
    coarse = images.spaced_grid(ramp, (2.0, 2.0, 2.0))
    assert coarse.GetSize() == (2, 5, 9)
    assert coarse.GetOrigin() == pytest.approx((0.5, 0.0, -0.5))


def test_mask_too_small() -> None:
    mask = sitk.GetImageFromArray(np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(VoxelwayError, match="E-MASK-EMPTY"):
        images.check_mask(mask, "x")
    mask[1, 1, 1] = 1
    images.check_mask(mask, "x")
    with pytest.raises(VoxelwayError, match=r"1 voxels, 0\.0 ml"):
        images.check_mask(mask, "x", min_ml=1)
