"""Segmentations and reports on real series, read back by dcmqi; skips where the data are absent."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import cli

from .export_cases import dcmqi_voxels, faults

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dicom"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not DATA.is_dir(), reason="the development data are absent"),
]


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, sitk.Image]:
    """A Siemens XA multi-frame file, and its image as dcm2niix gives it."""
    folder = tmp_path_factory.mktemp("enhanced")
    source = sorted((DATA / "enhanced_multiframe_t1" / "dicom").glob("*.dcm"))[0]
    (folder / "series").mkdir()
    (folder / "series" / "one.dcm").write_bytes(source.read_bytes())
    return folder / "series", image_of(folder / "series", folder)


@pytest.fixture(scope="module")
def classic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, sitk.Image]:
    """384 single-frame files, and their image."""
    folder = tmp_path_factory.mktemp("classic")
    with tarfile.open(DATA / "t1_384_slices" / "t1_dicom.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "dicoms", image_of(folder / "dicoms", folder)


def image_of(series: Path, folder: Path) -> sitk.Image:
    program = Path(sys.executable).with_name("dcm2niix")
    command = [program, "-b", "n", "-z", "n", "-f", "image", "-o", folder, series]
    subprocess.run(command, check=True, capture_output=True)
    return sitk.ReadImage(str(folder / "image.nii"))


def labels_of(image: sitk.Image) -> sitk.Image:
    """Three labels by brightness, in the middle of the image: real shapes, without symmetry."""
    values = sitk.GetArrayFromImage(image).astype(float)
    levels = np.quantile(values, [0.80, 0.90, 0.97])
    labels = np.digitize(values, levels).astype(np.uint8)
    labels[:, : labels.shape[1] // 4] = 0
    found = sitk.GetImageFromArray(labels)
    found.CopyInformation(image)
    return found


def cropped(labels: sitk.Image) -> sitk.Image:
    size = labels.GetSize()
    start = [n // 5 for n in size]
    return sitk.RegionOfInterest(labels, [n // 2 for n in size], start)


def resampled(labels: sitk.Image) -> sitk.Image:
    """On a turned, isotropic grid, in another orientation."""
    turn = sitk.Euler3DTransform(labels.TransformContinuousIndexToPhysicalPoint(
        [n / 2 for n in labels.GetSize()]), 0.1, -0.2, 0.15)  # fmt: skip
    grid = sitk.Image([120, 130, 110], sitk.sitkUInt8)
    grid.SetSpacing([1.7] * 3)
    matrix = np.asarray(turn.GetMatrix()).reshape(3, 3) @ np.diag([-1.0, 1.0, -1.0])
    grid.SetDirection(matrix.ravel().tolist())
    middle = np.asarray(turn.GetCenter())
    grid.SetOrigin((middle - matrix @ (np.array([119, 129, 109]) * 0.85)).tolist())
    return sitk.Resample(labels, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)


def unchanged(labels: sitk.Image) -> sitk.Image:
    return labels


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("enhanced", unchanged),
        ("enhanced", cropped),
        ("enhanced", resampled),
        ("classic", resampled),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_dcmqi_finds_every_voxel_at_its_place(
    kind: str, change: object, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    series, image = request.getfixturevalue(kind)
    labels = change(labels_of(image))
    sitk.WriteImage(labels, str(tmp_path / "labels.nii.gz"))
    out, report = tmp_path / "seg.dcm", tmp_path / "volumes.dcm"
    command = ["export-seg", str(tmp_path / "labels.nii.gz"), str(series), str(out)]
    assert cli.main([*command, "--volumes", str(report)]) == 0
    assert faults(out) == [] and faults(report) == []

    back = dcmqi_voxels(out, tmp_path / "back")
    told = json.loads(out.with_suffix(".json").read_text())["SegmentVoxels"]
    counts = np.bincount(sitk.GetArrayFromImage(back).ravel(), minlength=4)
    assert counts[1:].tolist() == [told["CSF"], told["GM"], told["WM"]]
    # the places: our labels at the pixels of the image that dcm2niix made of the same series
    nearest = sitk.sitkNearestNeighbor
    expected = sitk.GetArrayFromImage(sitk.Resample(labels, image, sitk.Transform(), nearest, 0))
    placed = sitk.GetArrayFromImage(sitk.Resample(back, image, sitk.Transform(), nearest, 0))
    assert expected.any()
    assert np.count_nonzero(placed != expected) <= 1e-3 * np.count_nonzero(expected)
