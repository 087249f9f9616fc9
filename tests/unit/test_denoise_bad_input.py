"""Denoising of what should not come: integers near their limit, masks beside the head, contrasts
that a model has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.denoise import stage
from pipeline.errors import VoxelwayError
from tests.unit.contract_cases import voxelway, write_model
from tests.unit.test_denoise_methods import brain, clean, params, rice, run


def test_integers_near_their_limit_do_not_wrap_around(tmp_path: Path) -> None:
    truth = images.array(clean(32))
    # the noise lifts the brightest voxels beyond what int16 holds; they are cut, as scanners do
    noisy = images.array(rice(images.like(truth, clean(32)), 0.05)) * 31_000
    whole = np.minimum(np.rint(noisy), np.iinfo(np.int16).max).astype(np.int16)
    assert (whole == np.iinfo(np.int16).max).sum() > 100
    source, output = tmp_path / "in.nii.gz", tmp_path / "out.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(whole), str(source))
    assert voxelway("denoise", source, output) == 0
    found = images.array(images.read_image(output))
    inside = truth > 0.9
    assert found.min() >= 0 and found[inside].min() > 0.5 * 31_000
    assert found.max() < 1.2 * np.iinfo(np.int16).max


@pytest.mark.parametrize("stripped", [True, False])
def test_a_mask_beside_the_head_is_refused_or_harmless(stripped: bool) -> None:
    truth = clean()
    noisy = rice(truth, 0.05)
    if stripped:
        noisy = images.like(images.array(noisy) * images.bool_array(brain(truth)), truth)
    mask = brain(truth) == 0
    if stripped:
        # nothing but zeros: no noise to be told
        with pytest.raises(VoxelwayError) as caught:
            run(noisy, mask)
        assert caught.value.code == "E-SIGNAL"
        return
    # air has noise of its own, and the same; the result is an image on the same lattice
    result = run(noisy, mask)
    assert images.same_grid(result.image, noisy)
    assert np.isfinite(images.array(result.image)).all()


@pytest.mark.parametrize(("name", "warned"), [
    ("sub-1_T2w", True), ("sub-1_sbref", True), ("sub-1_T1w", False), ("scan_one", False),
])  # fmt: skip
def test_a_contrast_that_the_model_has_not_seen_is_told(
    name: str, warned: bool, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    source, output = tmp_path / f"{name}.nii.gz", tmp_path / "out.nii.gz"
    images.write_image(rice(clean(32), 0.05), source)
    model = write_model(tmp_path / "model", "denoise", "redcnn")
    assert voxelway("denoise", source, output, "--method", "redcnn", "--model", model) == 0
    text = f"was not trained on {name.partition('_')[2]} (but on T1w)"
    assert (text in capfd.readouterr().err) == warned
    assert stage.prepare(params(method="redcnn"), model).contrasts == ("T1w",)


def test_a_refusal_names_the_file_and_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    truth = clean(32)
    cut = np.where(images.bool_array(brain(truth)), 255, images.array(rice(truth, 0.05)) * 10)
    source = tmp_path / "cut.nii.gz"
    images.write_image(images.like(cut.astype(np.uint8), truth), source)
    table = tmp_path / "batch.tsv"
    table.write_text(f"input\toutput\n{source}\t{tmp_path / 'out.nii.gz'}\n")
    for arguments in ([source, tmp_path / "out.nii.gz"], ["--batch", table]):
        assert voxelway("denoise", *arguments) == 3
        said = capfd.readouterr().err
        assert "E-SIGNAL: " in said and f"In {source}. Look at the image" in said
