"""Defacing: the plane worked out by hand, the brain untouched, the face gone."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline import config, images
from pipeline.errors import VoxelwayError
from pipeline.ingest import deface
from pipeline.ingest.methods import quickshear
from pipeline.ingest.stage import Faces
from pipeline.methods import create
from pipeline.report.figures import deface as picture
from pipeline.report.figures import geometry

from .ingest_dicom import SHARED

needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="development data are absent")
REAL = SHARED / "enhanced_multiframe_t1" / "reference" / "5_anat-T1w_acq-tfl.nii"


def params(method: str, margin: float = 5.0) -> dict[str, object]:
    return {**config.section("ingest", {"deface": {"method": method, "margin": margin}}), "seed": 0}


def ellipsoid(axes: tuple[float, ...] = (30, 40, 35)) -> sitk.Image:
    """A brain of voxels of 2 mm around the origin, in a head of 64 voxels a side."""
    z, y, x = np.mgrid[-64:64:2, -64:64:2, -64:64:2]
    inside = (x / axes[0]) ** 2 + (y / axes[1]) ** 2 + (z / axes[2]) ** 2 < 1
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((-64.0, -64.0, -64.0))
    return image


def test_plane_of_a_block_of_voxels() -> None:
    # a brain from y = -20 (front) to 20 and from z = -10 (below) to 10, one voxel of 2 mm thick;
    # the front's first voxel is its lowest, so the plane falls by the least angle from there
    brain = sitk.Image(3, 21, 11, sitk.sitkUInt8)
    brain.SetSpacing((2.0, 2.0, 2.0))
    brain.SetOrigin((-2.0, -20.0, -10.0))
    normal, offset = quickshear.shear_plane(brain + 1, 5.0)
    angle = math.radians(quickshear.FLAT)
    assert np.allclose(normal, (0, math.sin(angle), math.cos(angle)))
    touched = -20 * math.sin(angle) - 10 * math.cos(angle)
    assert offset == pytest.approx(touched - 5.0 - math.sqrt(3.0))


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(12, 50)] * 3), st.floats(0, 20), st.integers(0, 10**6))
def test_no_brain_is_cut_whatever_its_shape(
    axes: tuple[float, float, float], margin: float, seed: int
) -> None:
    brain = ellipsoid(axes)
    values = sitk.GetArrayFromImage(brain)
    # specks outside, as a poor mask has them
    values[tuple(np.random.default_rng(seed).integers(0, 64, (3, 5)))] = 1
    speckled = images.like(values, brain)
    normal, offset = quickshear.shear_plane(speckled, margin)
    removed = quickshear.below(speckled, normal, offset)
    assert not removed[values > 0].any()
    assert np.linalg.norm(normal) == pytest.approx(1.0)


def test_plane_follows_the_head_into_another_image() -> None:
    turn = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.15, (4.0, -7.0, 9.0))
    normal, offset = quickshear.shear_plane(ellipsoid(), 5.0)
    there, beyond = quickshear.moved(normal, offset, turn)
    for point in np.random.default_rng(0).uniform(-60, 60, (20, 3)):
        before = np.asarray(turn.TransformPoint(tuple(point))) @ normal - offset
        assert point @ there - beyond == pytest.approx(before)


def head_file(direction: np.ndarray, dtype: type, low: float = 0.0) -> tuple[bytearray, np.ndarray]:
    """A made-up head as NIfTI bytes, and which of its voxels are brain."""
    brain = sitk.GetArrayFromImage(ellipsoid()).T > 0
    values = np.where(brain, 800, 300).astype(dtype)
    values[:, 0, :] = low
    image = nib.Nifti1Image(values, direction)
    return bytearray(image.to_bytes()), brain


RAS = np.array([[-2, 0, 0, 64], [0, -2, 0, 64], [0, 0, 2, -64], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("method", ["quickshear", "mask"])
@pytest.mark.parametrize(("dtype", "low"), [(np.int16, -1024), (np.uint16, 0), (np.float32, 0)])
def test_voxels_of_the_brain_stay_and_others_become_air(
    method: str, dtype: type, low: float
) -> None:
    nifti, brain = head_file(RAS, dtype, low)
    before = np.asarray(nib.Nifti1Image.from_bytes(bytes(nifti)).dataobj)
    image = deface._image(nifti)
    head = deface.Head("T1w", image, ellipsoid())
    facts = create("ingest", method, params(method)).deface(head, "T1w", nifti)
    after = np.asarray(nib.Nifti1Image.from_bytes(bytes(nifti)).dataobj)
    assert np.array_equal(before[brain], after[brain])
    changed = before != after
    assert changed.mean() > 0.1 and set(np.unique(after[changed])) == {low}
    # in front of and below the brain, LPS (0, -60, -60): index 32, 2, 2
    assert after[32, 2, 2] == low and after[32, 32, 32] == 800
    assert facts["Defaced"] is True and facts["DefaceMethod"] == method
    assert 0.1 < facts["DefaceShare"] < 1


def test_stripped_images_are_left_and_heads_without_a_brain_refused() -> None:
    defacer = create("ingest", "quickshear", params("quickshear"))
    defacer.common = {**defacer.common, "brain_ml": [100, 3000]}
    nifti, _ = head_file(RAS, np.int16)
    # what deepbet would find
    defacer.__dict__["_mask_method"] = lambda image: ellipsoid()
    found = defacer.find_head("T1w", nifti)
    assert found is not None and found.suffix == "T1w"
    stripped = np.where(sitk.GetArrayFromImage(ellipsoid()).T > 0, 800, 0).astype(np.int16)
    content = bytearray(nib.Nifti1Image(stripped, RAS).to_bytes())
    before = bytes(content)
    assert Faces(defacer).remove("T1w", content)["Defaced"] is False and bytes(content) == before
    defacer.common = {**defacer.common, "brain_ml": [500, 3000]}
    with pytest.raises(VoxelwayError, match="E-MASK-EMPTY"):
        Faces(defacer).remove("T1w", nifti)


@needs_data
@pytest.mark.shared
def test_real_head_loses_its_face_and_no_voxel_of_its_brain() -> None:
    nifti = bytearray(REAL.read_bytes())
    before = np.asarray(nib.load(REAL).dataobj)
    faces = Faces(create("ingest", "quickshear", params("quickshear")))
    facts = faces.remove("T1w", nifti)
    image = nib.Nifti1Image.from_bytes(bytes(nifti))
    after = np.asarray(image.dataobj)
    brain = sitk.GetArrayFromImage(faces.head.brain).T > 0
    assert np.array_equal(before[brain], after[brain]) and 1000 < brain.sum() * 0.008 < 2000
    # tip of the nose and chin, found by eye in the image, in RAS mm
    for point in ((0, 96, -42), (0, 84, -90)):
        index = np.rint(np.linalg.inv(image.affine) @ (*point, 1.0))[:3].astype(int)
        block = tuple(slice(i - 3, i + 4) for i in index)
        assert before[block].max() > 60 and not after[block].any()
    assert 0.25 < facts["DefaceShare"] < 0.5
    # a second contrast of the session, of a head that has moved meanwhile
    moved = move(nib.load(REAL), faces.head.brain)
    second, there = bytearray(moved[0].to_bytes()), moved[1]
    earlier = np.asarray(moved[0].dataobj)
    again = faces.remove("T2w", second)
    later = np.asarray(nib.Nifti1Image.from_bytes(bytes(second)).dataobj)
    assert np.array_equal(earlier[there], later[there])
    turn = np.asarray(again["DefacePlaneLPS"][:3]) @ facts["DefacePlaneLPS"][:3]
    assert math.degrees(math.acos(min(turn, 1.0))) == pytest.approx(8.0, abs=1.0)


def move(image: nib.Nifti1Image, brain: sitk.Image) -> tuple[nib.Nifti1Image, np.ndarray]:
    """A head of inverse contrast that nods by 8 degrees, and where its brain is then."""
    head = deface._image(bytearray(image.to_bytes()))
    nod = sitk.Euler3DTransform((0, 0, 0), math.radians(8), 0, 0, (2.0, -3.0, 4.0))
    values = sitk.Resample(head, head, nod, sitk.sitkLinear, 0.0)
    there = sitk.Resample(brain, head, nod, sitk.sitkNearestNeighbor, 0)
    level = sitk.GetArrayFromImage(values).T
    inverse = np.where(level > 30, 900 - level.clip(0, 800), level).astype(np.int16)
    return nib.Nifti1Image(inverse, image.affine), sitk.GetArrayFromImage(there).T > 0


def test_picture_shades_what_was_removed() -> None:
    image = sitk.Cast(ellipsoid(), sitk.sitkFloat32) * 100
    plane = (0.0, 0.6, 0.8, -40.0)
    figure = picture.defaced({"T1w": (image, plane)})
    assert [layer.name for layer in figure.overlays] == ["removed"]
    shade = np.asarray(Image.open(io.BytesIO(figure.overlays[0].data)))[..., 3]
    # anterior is at the left and superior at the top: the lower left corner went, the upper
    # right one stayed
    assert shade[-5, 5] > 0 and shade[5, 120] == 0
    where = geometry.cut(image, "sagittal", 64.0, geometry.whole_box(image), 1.0)
    side = picture.side_of(where, plane)
    first = where.grid.TransformIndexToPhysicalPoint((0, 0, 0))
    assert side[0, 0] == pytest.approx(np.dot(first, plane[:3]) - plane[3])
    assert not picture.defaced({"T1w": (image, None)}).overlays


def test_config_says_what_is_allowed(tmp_path: Path) -> None:
    assert config.section("ingest")["deface"] == {"method": "none", "margin": 5}
    with pytest.raises(VoxelwayError, match="E-CONFIG-VALUE"):
        config.section("ingest", json.loads('{"deface": {"method": "blur"}}'))
