"""The contract of a stage, put to every stage and every method.

Same input, same voxels; output described by a sidecar; what can't be done right is refused with a
code; after a refusal nothing is left. A new method file is tested here without another word.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import images, methods
from pipeline.paths import sidecar
from tests.unit.contract_cases import BAD_INPUTS, voxelway, write_head, write_model

STAGES = ("preprocess", "denoise", "superres", "synthesize", "segment")
#: Stages whose every method needs a model: there is nothing to call without one.
TRAINED = ("synthesize",)
FREE = tuple(stage for stage in STAGES if stage not in TRAINED)
CASES = [(stage, method) for stage in STAGES for method in methods.available(stage)]
REGISTRATIONS = methods.available("register")


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_head(tmp_path_factory.mktemp("head"))


def options(folder: Path, stage: str, method: str) -> list[object]:
    """The method, with a tiny model for one that is learned."""
    more: list[object] = ["--target", "T2w"] if stage == "synthesize" else []
    if not methods.learned(stage, method):
        return ["--method", method, *more]
    return ["--method", method, "--model", write_model(folder / "model", stage, method), *more]


@pytest.mark.parametrize(("stage", "method"), CASES)
def test_same_input_same_voxels_and_a_sidecar(
    head: Path, tmp_path: Path, stage: str, method: str
) -> None:
    chosen = options(tmp_path, stage, method)
    outputs = [tmp_path / name / "out_T1w.nii.gz" for name in ("first", "second")]
    for output in outputs:
        assert voxelway(stage, head, output, *chosen) == 0
    first, second = (sitk.ReadImage(str(output)) for output in outputs)
    assert images.same_grid(first, second)
    assert np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))
    described = json.loads(sidecar(outputs[0]).read_text())
    assert described["Method"] == method
    assert bool(described.get("Model")) == methods.learned(stage, method)
    assert described["Inputs"] and described["Code"] and described["Versions"]
    assert {path.suffix for path in outputs[0].parent.iterdir()} <= {".gz", ".json", ".tsv"}


@pytest.mark.parametrize("code", sorted(BAD_INPUTS))
@pytest.mark.parametrize(("stage", "method"), CASES)
def test_bad_input_is_refused_and_nothing_is_left(
    head: Path, tmp_path: Path, stage: str, method: str, code: str, capfd: pytest.CaptureFixture
) -> None:
    given = tmp_path / "in"
    given.mkdir()
    output = tmp_path / "out" / "out_T1w.nii.gz"
    path = BAD_INPUTS[code](head, given)
    assert voxelway(stage, path, output, *options(tmp_path, stage, method)) == 3
    printed = capfd.readouterr().err
    assert code in printed and "Traceback" not in printed
    assert not output.parent.exists() or not list(output.parent.iterdir())


@pytest.mark.parametrize("method", REGISTRATIONS)
def test_registration_keeps_the_contract(head: Path, tmp_path: Path, method: str) -> None:
    moving = sitk.ReadImage(str(head))
    shift = sitk.TranslationTransform(3, (4.0, -3.0, 2.0))
    fixed = tmp_path / "fixed_T1w.nii.gz"
    images.write_image(images.resample(moving, moving, shift, order=1), fixed)
    outputs = [tmp_path / name for name in ("first", "second")]
    for output in outputs:
        assert voxelway("register", head, fixed, output, "--method", method) == 0
    names = {path.name for path in outputs[0].iterdir()}
    fields = {"moved.nii.gz", "warp.nii.gz", "inverse_warp.nii.gz", "jacobian.nii.gz"}
    assert fields | {"affine.mat", "metrics.json"} <= names
    for name in fields:
        pair = [sitk.GetArrayFromImage(sitk.ReadImage(str(o / name))) for o in outputs]
        assert np.array_equal(*pair), name


@pytest.mark.parametrize("code", sorted(BAD_INPUTS))
@pytest.mark.parametrize("method", REGISTRATIONS)
def test_registration_refuses(
    head: Path, tmp_path: Path, method: str, code: str, capfd: pytest.CaptureFixture
) -> None:
    given = tmp_path / "in"
    given.mkdir()
    path = BAD_INPUTS[code](head, given)
    assert voxelway("register", path, head, tmp_path / "out", "--method", method) == 3
    assert code in capfd.readouterr().err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("stage", STAGES)
def test_unknown_method(
    head: Path, tmp_path: Path, stage: str, capfd: pytest.CaptureFixture
) -> None:
    assert voxelway(stage, head, tmp_path / "o.nii.gz", "--method", "magic") == 2
    assert "E-METHOD" in capfd.readouterr().err


@pytest.mark.parametrize("stage", FREE)
def test_a_batch_isolates_its_failures(
    head: Path, tmp_path: Path, stage: str, capfd: pytest.CaptureFixture
) -> None:
    rows = [(head, tmp_path / "a_T1w.nii.gz"), (tmp_path / "none.nii.gz", tmp_path / "b.nii.gz")]
    batch = tmp_path / "batch.tsv"
    batch.write_text("input\toutput\n" + "".join(f"{a}\t{b}\n" for a, b in rows))
    assert voxelway(stage, "--batch", batch) == 5
    assert "E-IMG-MISSING" in capfd.readouterr().err
    assert (tmp_path / "a_T1w.nii.gz").exists() and not (tmp_path / "b.nii.gz").exists()


@pytest.mark.parametrize("stage", FREE)
def test_a_full_disk_is_said_and_leaves_nothing(
    head: Path, tmp_path: Path, stage: str, capfd: pytest.CaptureFixture
) -> None:
    import subprocess

    full = tmp_path / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(full)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can't be mounted here")
    try:
        assert voxelway(stage, head, full / "out_T1w.nii.gz") == 4
        assert "E-DISK-FULL" in capfd.readouterr().err
        assert list(full.iterdir()) == []
    finally:
        subprocess.run(["umount", str(full)], check=True)
