"""The stage on a results folder of one made-up unit, and the verb on a single file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import config, files, images
from pipeline.errors import VoxelwayError
from pipeline.paths import Results, Unit
from pipeline.register import transforms
from pipeline.register.fields import zero_field
from pipeline.segment import atlas, stage
from pipeline.task import Task, UnitTask

UNIT = Unit("p1", "01")
TEMPLATE = "Made"
SHARED = Path(__file__).parents[2] / "../shared/data/brain_t1"
LEVELS = {
    "T1w": [0, 0.25, 0.6, 0.95, 0.78],
    "T2w": [0, 0.85, 0.45, 0.3, 0.6],
    "FLAIR": [0, 0.1, 0.6, 0.5, 1.0],
}


def image(values: np.ndarray) -> sitk.Image:
    result = sitk.GetImageFromArray(values)
    result.SetSpacing((4.0, 4.0, 4.0))
    result.SetOrigin((-62.0, -62.0, -62.0))
    return result


def truth() -> np.ndarray:
    axes = np.ogrid[:32, :32, :32]
    r = np.sqrt(sum((4.0 * (a - 15.5)) ** 2 for a in axes))
    spot = np.sqrt(sum((4.0 * (a - c)) ** 2 for a, c in zip(axes, (16, 16, 21), strict=True)))
    labels = np.select([r < 42, r < 52, r < 58], [3, 2, 1], 0)
    labels[spot < 13] = 4
    return labels


def write(path: Path, what: sitk.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write_image(what, path)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Outputs of superres, synthesize and register of one unit; FLAIR was made."""
    place, labels = Results(tmp_path / "results"), truth()
    mask = image((labels > 0).astype(np.uint8))
    write(place.image("superres", UNIT, "mask", space="T1w", desc="brain"), mask)
    random = np.random.default_rng(0)
    for suffix, levels in LEVELS.items():
        values = np.asarray(levels)[labels] + random.normal(0, 0.02, labels.shape)
        contrast = image(values.astype(np.float32))
        source, desc = ("synthesize", "synth") if suffix == "FLAIR" else ("superres", "superres")
        write(place.image(source, UNIT, suffix, space="T1w", desc=desc), contrast)
    plain = np.where(labels == 4, 3, labels)
    folder = place.model("register", TEMPLATE)
    for k, tissue in enumerate(("CSF", "GM", "WM"), 1):
        share = sitk.SmoothingRecursiveGaussian(image((plain == k).astype(np.float32)), 4.0)
        write(folder / f"{tissue}_probseg.nii.gz", share)
    paths = transforms.unit_paths(place, UNIT, "T1w", TEMPLATE)
    transforms.write_affine(sitk.AffineTransform(3), paths.affine)
    for path in (paths.warp, paths.inverse_warp):
        transforms.write_field(zero_field(mask), path)
    return place


def run(results: Results, **over: Any) -> UnitTask:
    params: Mapping[str, Any] = {**config.section("segment", over), "seed": 0}
    task = UnitTask("segment", params, base=results.root, results=results, unit=UNIT)
    stage.run_unit(task, stage.prepare(params, None))
    return task


def output(results: Results, suffix: str, desc: str = "", extension: str = ".nii.gz") -> Path:
    return results.image("segment", UNIT, suffix, desc=desc, space="T1w", extension=extension)


def test_unit_gets_every_file(results: Results) -> None:
    task = run(results)
    expected = [
        output(results, "dseg"),
        output(results, "dseg", "coarse"),
        output(results, "entropy", "entropy"),
        output(results, "dseg", extension=".tsv"),
        output(results, "volumes", extension=".tsv"),
    ]
    assert sorted(task.outputs) == sorted(p.relative_to(results.root).as_posix() for p in expected)
    mask = images.read_labels(results.image("superres", UNIT, "mask", space="T1w", desc="brain"))
    for path in expected[:3]:
        assert images.same_grid(sitk.ReadImage(str(path)), mask)
    found = images.array(images.read_labels(expected[0]))
    assert (found == truth())[truth() > 0].mean() > 0.95
    assert np.array_equal(found > 0, truth() > 0)


def test_sidecar_and_tables_tell_the_same_volumes(results: Results) -> None:
    run(results)
    facts = files.read_json(output(results, "dseg", extension=".json"))
    rows = files.read_tsv(output(results, "volumes", extension=".tsv"))
    found = np.bincount(
        images.array(images.read_labels(output(results, "dseg"))).astype(int).ravel(), minlength=6
    )
    for row in rows:
        assert float(row["mm3"]) == pytest.approx(found[int(row["label"])] * 64.0)
        assert facts["Volumes"][row["name"]] == pytest.approx(float(row["mm3"]))
    assert [row["name"] for row in rows] == ["CSF", "GM", "WM", "lesion", "lesion-core"]
    assert facts["AtlasPriors"] is True and facts["BoxTouched"] is False
    assert facts["LesionContrasts"] == ["T2w"]
    box = facts["Box"]
    inside = np.argwhere(truth() > 0)[:, ::-1]
    assert (inside.min(axis=0) >= box["Index"]).all()
    assert (inside.max(axis=0) < np.add(box["Index"], box["Size"])).all()


@pytest.mark.parametrize("synthetic", [True, False])
def test_made_contrasts_are_named(results: Results, synthetic: bool) -> None:
    run(results, synthetic=synthetic)
    used = files.read_json(output(results, "dseg", extension=".json"))["ChannelsUsed"]
    expected = [("T1w", False), ("T2w", False)] + [("FLAIR", True)] * synthetic
    assert [(item["Suffix"], item["Synthetic"]) for item in used] == expected


def test_channels_are_chosen_by_config(results: Results) -> None:
    run(results, channels=["T2w"])
    used = files.read_json(output(results, "dseg", extension=".json"))["ChannelsUsed"]
    assert [item["Suffix"] for item in used] == ["T1w", "T2w"]  # the anchor always


def test_implausible_brain_is_told(results: Results) -> None:
    task = run(results, plausible={"GM": [5000, 6000]})
    assert any(text.startswith("GM has") for text in task.warnings)


def test_unit_without_registration_is_refused(results: Results) -> None:
    transforms.unit_paths(results, UNIT, "T1w", TEMPLATE).affine.unlink()
    with pytest.raises(VoxelwayError) as caught:
        run(results)
    assert caught.value.code == "E-IMG-INPUT"


def test_template_without_maps_is_refused(results: Results) -> None:
    (results.model("register", TEMPLATE) / "GM_probseg.nii.gz").unlink()
    with pytest.raises(VoxelwayError) as caught:
        run(results)
    assert caught.value.code == "E-TEMPLATE"


def test_empty_mask_is_refused(results: Results) -> None:
    path = results.image("superres", UNIT, "mask", space="T1w", desc="brain")
    write(path, image(np.zeros((32, 32, 32), np.uint8)))
    with pytest.raises(VoxelwayError) as caught:
        run(results)
    assert caught.value.code == "E-MASK-EMPTY"


def test_contrast_on_another_grid_is_refused(results: Results) -> None:
    path = results.image("superres", UNIT, "T2w", space="T1w", desc="superres")
    moved = sitk.ReadImage(str(path))
    moved.SetOrigin((0.0, 0.0, 0.0))
    write(path, moved)
    with pytest.raises(VoxelwayError) as caught:
        run(results)
    assert caught.value.code == "E-IMG-GRID"


def test_alignment_recovers_a_known_affine() -> None:
    labels = truth()
    values = np.asarray(LEVELS["T1w"])[labels].astype(np.float32)
    values[:, :, :16] *= 0.8  # left and right differ, else any turn about x would do
    template, brain = image(values), image((labels > 0).astype(np.uint8))
    known = sitk.AffineTransform(3)
    known.Scale((1.06, 0.95, 1.02))
    known.Translate((5.0, -4.0, 6.0))
    subject = images.resample(template, template, known, order=1)
    mask = images.resample(brain, brain, known, labels=True)
    found = atlas.align(subject, mask, template, brain)
    corners = [(x, y, z) for x in (-30, 30) for y in (-30, 30) for z in (-30, 30)]
    errors = [
        np.linalg.norm(np.subtract(found.TransformPoint(p), known.TransformPoint(p)))
        for p in (tuple(map(float, corner)) for corner in corners)
    ]
    assert max(errors) < 4.0


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no development data")
def test_file_comes_back_on_its_own_grid(tmp_path: Path) -> None:
    source = sorted(SHARED.glob("*_T1w.nii.gz"))[0]
    turned = sitk.DICOMOrient(images.read_image(source), "PSR")
    grid = images.spaced_grid(turned, (3.0, 2.5, 3.0))
    small = images.resample(turned, grid, order=1)
    images.write_image(small, tmp_path / "in_T1w.nii.gz")
    params = {**config.section("segment"), "seed": 0}
    out, unsure = tmp_path / "out.nii.gz", tmp_path / "entropy.nii.gz"
    row = {
        "input": str(tmp_path / "in_T1w.nii.gz"),
        "output": str(out),
        "uncertainty": str(unsure),
    }
    stage.run_file(Task("segment", params), stage.prepare(params, None), row)
    for path in (out, unsure):
        assert images.same_grid(sitk.ReadImage(str(path)), small, tolerance=1e-4)
    volumes = files.read_json(tmp_path / "out.json")["Volumes"]
    assert 400e3 < volumes["GM"] < 1000e3 and 300e3 < volumes["WM"] < 800e3
    assert files.read_json(tmp_path / "out.json")["SkullStripped"] is True
