"""Unpaired training through the command line: what its bundles hold and how they are used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import yaml

from pipeline import cli, config, images, methods
from pipeline.errors import VoxelwayError
from tests.unit import unpaired_cases as cases


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpaired")
    cases.write_folder(folder)
    return folder


def train(folder: Path, out: Path, method: str, **learning: object) -> int:
    content = cases.configuration(folder, method)
    content["synthesize"]["learning"] |= learning
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(content))
    return int(cli.main(["train", "synthesize", "--config", str(path), "--out", str(out)]))


@pytest.fixture(scope="module")
def joint(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("joint") / "model"
    assert train(data, out, "synseg") == 0
    return out


def test_bundle_has_its_curve_its_samples_and_its_realism(joint: Path) -> None:
    names = {path.name for path in joint.iterdir()}
    assert {"training.png", "samples.png", "model.safetensors"} <= names
    card = (joint / "README.md").read_text()
    assert "Fréchet distance" in card and "without pairs" in card and "closed by detail" in card
    scores = json.loads((joint / "metadata.json").read_text())["training"]["scores"]
    assert 0.0 <= scores["T2w, realism: p of the MMD"]["mean"] <= 1.0
    assert "Dice on acquired targets: GM" not in scores  # the contrasts do not lie on each other


def test_contrast_is_made_on_the_grid_of_its_source(joint: Path, data: Path) -> None:
    params = {**config.section("synthesize"), "seed": 0}
    make = methods.create("synthesize", "synseg", params, joint)
    image, mask = (images.read_image(data / f"sub-e_{kind}.nii.gz") for kind in ("T1w", "mask"))
    mask = sitk.Cast(mask, sitk.sitkUInt8)
    first, second = (make({"T1w": image}, mask, "T2w") for _ in range(2))
    assert images.same_grid(first.image, image) and first.sources == ("T1w",)
    assert np.array_equal(images.array(first.image), images.array(second.image))
    assert images.array(first.spread)[images.bool_array(mask)].min() > 0
    with pytest.raises(VoxelwayError, match="E-MODEL-INPUT"):
        make({"FLAIR": image}, mask, "T2w")


def test_segmenter_is_a_model_of_the_stage_segment(
    joint: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = joint.with_name("model.segmenter")
    about = json.loads((model / "metadata.json").read_text())
    assert about["stage"] == "segment" and about["inputs"]["contrasts"] == ["T2w"]
    assert "skull-stripped" in (model / "README.md").read_text()
    out = tmp_path / "labels_dseg.nii.gz"
    status = cli.main(["segment", str(data / "sub-c_T2w.nii.gz"), str(out), "--method", "cascade",
                       "--model", str(model)])  # fmt: skip
    # two steps teach nothing: where nothing is found at all, that is told
    if status != 0:
        assert "E-MASK-EMPTY" in capfd.readouterr().err
    else:
        found = set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(out)))).tolist())
        assert found <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("learning", "code"),
    [
        ({"sources": []}, "E-CONFIG-VALUE"),
        ({"losses": [{"name": "l1", "weight": 1.0}]}, "E-CONFIG-VALUE"),
        ({"labels": "organs"}, "E-LABELS"),
    ],
)
def test_what_a_training_refuses(
    data: Path, tmp_path: Path, learning: dict[str, object], code: str,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert train(data, tmp_path / "model", "synseg", **learning) in (2, 3)
    assert code in capfd.readouterr().err
    assert not (tmp_path / "model").exists()


def test_one_subject_is_refused(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = cases.configuration(data, "cyclegan")["synthesize"]["learning"]["data"][0]
    content["held_out"] = ["sub-[bcd]"]
    assert train(data, tmp_path / "model", "cyclegan", data=[content]) == 3
    assert "E-TRAIN-DATA" in capfd.readouterr().err
