"""Registration methods on made-up brains with a known map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import config, images, methods
from pipeline.errors import VoxelwayError
from pipeline.register import engine, fields, transforms
from pipeline.register.fields import Registration

from . import register_cases as cases

MOVING, FIXED, TRUTH = cases.pair()


def run(method: str, **options: Any) -> Registration:
    params = {**config.section("register", options), "seed": 3}
    found: Registration = methods.create("register", method, params)(
        MOVING[0], FIXED[0], MOVING[1], FIXED[1]
    )
    return found


@pytest.fixture(scope="module")
def syn() -> Registration:
    return run("syn")


@pytest.fixture(scope="module")
def affine() -> Registration:
    return run("affine")


def test_affine_finds_the_affine_part(affine: Registration) -> None:
    still = Registration(
        sitk.AffineTransform(3), fields.zero_field(FIXED[0]), fields.zero_field(FIXED[0])
    )
    assert cases.error(affine, TRUTH, FIXED[1]) < 0.4 * cases.error(still, TRUTH, FIXED[1])
    assert not fields.vectors(affine.warp).any()


def test_syn_is_better_than_affine(syn: Registration, affine: Registration) -> None:
    assert cases.error(syn, TRUTH, FIXED[1]) < 0.75 * cases.error(affine, TRUTH, FIXED[1])


def test_demons_is_better_than_affine(affine: Registration) -> None:
    found = run("demons")
    assert cases.error(found, TRUTH, FIXED[1]) < 0.75 * cases.error(affine, TRUTH, FIXED[1])
    assert (images.array(fields.jacobian(found.warp)) > 0).all()


def test_syn_twice_gives_the_same_voxels(syn: Registration) -> None:
    again = run("syn")
    assert np.array_equal(fields.vectors(syn.warp), fields.vectors(again.warp))
    assert syn.affine.GetParameters() == again.affine.GetParameters()


def test_inverse_brings_points_back(syn: Registration) -> None:
    both = fields.vectors(fields.compose(syn.warp, syn.inverse_warp))
    assert np.linalg.norm(both, axis=-1)[images.bool_array(FIXED[1])].mean() < 0.1


@pytest.mark.parametrize("inverse", [False, True])
def test_ants_and_simpleitk_apply_our_files_alike(
    syn: Registration, tmp_path: Path, inverse: bool
) -> None:
    cases.check_applied_alike(syn, MOVING, FIXED, tmp_path, inverse=inverse)


def test_crop_and_paste_keep_physical_space() -> None:
    part = engine.cropped(FIXED[0], FIXED[1])
    assert part.GetNumberOfPixels() < FIXED[0].GetNumberOfPixels()
    field = cases.linear_field(part, np.diag([0.1, 0.2, 0.3]))
    whole = engine.pasted(field, FIXED[0])
    inside = images.bool_array(FIXED[1])
    expected = cases.points(FIXED[0]) * [0.1, 0.2, 0.3]
    assert np.allclose(fields.vectors(whole)[inside], expected[inside], atol=1e-6)


def test_a_brain_without_signal_is_refused() -> None:
    dark = FIXED[0] * 0.0 - 1.0
    with pytest.raises(VoxelwayError, match="E-SIGNAL"):
        engine.normalized(dark, FIXED[1])


@pytest.mark.parametrize("name", ["affine.mat", "warp.nii.gz"])
def test_load_refuses_what_is_missing_or_broken(
    syn: Registration, tmp_path: Path, name: str
) -> None:
    paths = transforms.fixed_paths(tmp_path)
    transforms.write_affine(syn.affine, paths.affine)
    transforms.write_field(syn.warp, paths.warp)
    transforms.write_field(syn.inverse_warp, paths.inverse_warp)
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(VoxelwayError, match="E-IMG-UNREADABLE"):
        transforms.load(paths)
    (tmp_path / name).unlink()
    with pytest.raises(VoxelwayError, match="E-IMG-MISSING"):
        transforms.load(paths)
