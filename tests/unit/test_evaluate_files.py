"""`voxelway evaluate` on pairs of files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.cli import main
from pipeline.errors import Exit
from pipeline.evaluate.quality import efc
from pipeline.evaluate.registry import MEASURES

from .evaluate_cases import SIGMA, T1W, anatomy, painted, plus_noise


def run(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments)])


def test_file_form_of_labels(tmp_path: Path) -> None:
    reference = anatomy()
    values = sitk.GetArrayFromImage(reference)
    values[values == 4] = 3
    images.write_image(images.like(values, reference), tmp_path / "a.nii.gz")
    images.write_image(reference, tmp_path / "b.nii.gz")
    table = tmp_path / "dseg.tsv"
    files.write_tsv(table, ("index", "name"), [{"index": n, "name": f"L{n}"} for n in range(1, 6)])
    out = tmp_path / "out.json"
    assert run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out, "--labels", table) == 0
    content = json.loads(out.read_text())
    assert content["kind"] == "labels"
    assert content["labels"]["4"]["name"] == "L4"
    assert content["labels"]["4"]["dice"] == 0
    assert content["labels"]["4"]["hd95"] is None
    assert content["labels"]["5"]["dice"] is None
    assert content["labels"]["2"]["dice"] == 1
    dice = [content["labels"][key]["dice"] for key in "1234"]
    assert content["mean"]["dice"] == pytest.approx(np.mean(dice))
    assert content["units"]["hd95"] == "mm"
    assert content["mean"].keys() == {"dice", "jaccard", "sensitivity", "surface_dice"}
    jaccard = [content["labels"][key]["jaccard"] for key in "1234"]
    assert content["mean"]["jaccard"] == pytest.approx(np.mean(jaccard))
    # the lesion was called white matter: all labels together are right
    assert content["overall"]["dice"] == content["overall"]["surface_dice"] == 1
    assert content["overall"]["mhd"] == 0
    registered = {n for n, e in MEASURES.items() if e.family in ("overlap", "surface", "detection")}
    assert content["labels"]["4"].keys() == registered | {"name"}
    assert content["labels"]["4"]["lesions_missed"] == 1
    assert content["labels"]["4"]["lesion_precision"] is None
    assert run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out) == 0
    assert json.loads(out.read_text())["labels"].keys() == {"1", "2", "3", "4"}


def test_file_form_of_images(tmp_path: Path) -> None:
    reference = painted(anatomy(), T1W)
    images.write_image(reference, tmp_path / "b.nii.gz")
    images.write_image(plus_noise(reference, SIGMA) * 2.0 + 1.0, tmp_path / "a.nii.gz")
    out = tmp_path / "out.json"
    assert run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out) == 0
    content = json.loads(out.read_text())
    assert content["kind"] == "images"
    assert content["fit"]["gain"] == pytest.approx(0.5, rel=0.02)
    span = np.ptp(images.array(reference))
    expected = 20 * math.log10(span / SIGMA)
    assert content["measures"]["psnr"] == pytest.approx(expected, abs=0.2)
    assert content["measures_without_fit"]["psnr"] < 5
    registered = {name for name, entry in MEASURES.items() if entry.family == "similarity"}
    assert content["measures"].keys() == content["measures_without_fit"].keys() == registered
    assert 0.5 < content["measures"]["gms"] < 1
    alone = content["without_reference"]
    assert alone["predicted"].keys() == alone["reference"].keys() == {"efc", "fber", "qi1", "qi2"}
    assert alone["predicted"]["efc"] == pytest.approx(efc(images.array(images.read_image(
        tmp_path / "a.nii.gz"))))  # fmt: skip
    assert content["units"].keys() == registered | alone["predicted"].keys()
    assert run(tmp_path / "b.nii.gz", tmp_path / "b.nii.gz", out) == 0
    assert json.loads(out.read_text())["measures_without_fit"]["psnr"] is None


def test_whole_numbers_of_an_image_are_no_labels(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
    images.write_image(sitk.GetImageFromArray(values), tmp_path / "a.nii.gz")
    out = tmp_path / "out.json"
    assert run(tmp_path / "a.nii.gz", tmp_path / "a.nii.gz", out) == 0
    assert json.loads(out.read_text())["kind"] == "images"
    limit = json.dumps({"max_labels": 2000})
    assert run(tmp_path / "a.nii.gz", tmp_path / "a.nii.gz", out, "--params", limit) == 0
    assert json.loads(out.read_text())["kind"] == "labels"


@pytest.mark.parametrize("palette", [None, T1W], ids=["labels", "images"])
def test_other_grids_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], palette: np.ndarray | None
) -> None:
    a = anatomy() if palette is None else painted(anatomy(), palette)
    b = sitk.Image(a)
    b.SetSpacing((3, 3, 4))
    images.write_image(a, tmp_path / "a.nii.gz")
    images.write_image(b, tmp_path / "b.nii.gz")
    out = tmp_path / "out.json"
    assert run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out) == Exit.REFUSED
    assert capsys.readouterr().err.startswith("E-IMG-GRID")
    assert not out.exists()


def test_file_form_takes_its_tolerance_from_the_parameters(tmp_path: Path) -> None:
    reference = anatomy()
    moved = np.roll(sitk.GetArrayFromImage(reference), 1, 2)
    images.write_image(images.like(moved, reference), tmp_path / "a.nii.gz")
    images.write_image(reference, tmp_path / "b.nii.gz")
    out, found = tmp_path / "out.json", []
    for tolerance in (2.9, 3.0):  # the voxels are 3 mm
        limit = json.dumps({"surface_tolerance": tolerance})
        files_given = (tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out)
        assert run(*files_given, "--params", limit) == 0
        found.append(json.loads(out.read_text())["overall"]["surface_dice"])
    assert found[0] < found[1] == 1


def test_missing_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out) == Exit.REFUSED
    assert capsys.readouterr().err.startswith("E-IMG-MISSING")
