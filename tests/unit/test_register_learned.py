"""Learned registration and the optimisation of a pair, on made-up brains with a known map."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline import cli, config, images, methods, networks
from pipeline.bundles import write_bundle
from pipeline.errors import VoxelwayError
from pipeline.register import fields, frame, network, start
from pipeline.register.fields import Registration

from . import register_cases as cases

MOVING, FIXED, TRUTH = cases.pair()
PYRAMID = {"hidden": 4, "factors": [2, 1], "iterations": [10, 10]}
#: 4 mm images leave nothing to the finer levels
QUICK = {"optimisation": {"spacings": [8, 4], "iterations": [30, 20]}}


def untrained(folder: Path, architecture: str, arguments: dict[str, Any], **inputs: Any) -> Path:
    """A bundle with fresh weights."""
    torch.manual_seed(0)
    made = networks.build(architecture, arguments)
    tensors = {f"register/{name}": value.numpy() for name, value in made.state_dict().items()}
    training = {"subjects": 0, "split": "none", "seed": 0, "code": "", "version": "0"}
    metadata = {
        "stage": "register",
        "architecture": {"register": {"name": architecture, "arguments": arguments}},
        "inputs": {"contrasts": "any", "spacing_mm": 4.0, **inputs},
        "outputs": {},
        "training": training,
    }
    write_bundle(folder, tensors, metadata, "# untrained\n")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("model") / "pyramid", "pyramid", PYRAMID)


def run(method: str, model: Path | None = None, **options: Any) -> Registration:
    params = {**config.section("register", {**QUICK, **options}), "seed": 3}
    found: Registration = methods.create("register", method, params, model)(
        MOVING[0], FIXED[0], MOVING[1], FIXED[1]
    )
    return found


@pytest.fixture(scope="module")
def adaptive() -> Registration:
    return run("adaptive")


@pytest.fixture(scope="module")
def affine_error() -> float:
    return cases.error(run("affine"), TRUTH, FIXED[1])


def test_adaptive_is_better_than_affine(adaptive: Registration, affine_error: float) -> None:
    assert cases.error(adaptive, TRUTH, FIXED[1]) < 0.75 * affine_error
    inside = images.bool_array(FIXED[1])
    assert (images.array(fields.jacobian(adaptive.warp))[inside] > 0).all()


def test_network_then_refinement(bundle: Path, affine_error: float) -> None:
    alone = cases.error(run("voxelmorph", bundle, voxelmorph={"refine": False}), TRUTH, FIXED[1])
    refined = cases.error(run("voxelmorph", bundle), TRUTH, FIXED[1])
    assert refined < alone < affine_error


def test_inverse_brings_points_back(adaptive: Registration) -> None:
    both = fields.vectors(fields.compose(adaptive.warp, adaptive.inverse_warp))
    assert np.linalg.norm(both, axis=-1)[images.bool_array(FIXED[1])].mean() < 0.3


@pytest.mark.parametrize("inverse", [False, True])
def test_ants_and_simpleitk_apply_our_files_alike(
    adaptive: Registration, tmp_path: Path, inverse: bool
) -> None:
    cases.check_applied_alike(adaptive, MOVING, FIXED, tmp_path, inverse=inverse)


def test_any_number_of_threads_gives_the_same_field(
    adaptive: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXELWAY_THREADS", "2")
    again = run("adaptive")
    assert np.allclose(fields.vectors(again.warp), fields.vectors(adaptive.warp), atol=1e-3)


def test_admir_brings_its_own_affine(tmp_path: Path) -> None:
    small = {
        "affine": {"features": [4, 8]},
        "deformable": {"encoder": [4, 4], "decoder": [4, 4], "final": [4]},
    }
    model = untrained(tmp_path / "admir", "admir", small)
    found = run("voxelmorph", model, voxelmorph={"refine": False})
    # before its training the network moves next to nothing: the brains' centres are aligned
    shift = start.centred(MOVING[1], FIXED[1])
    origin = np.asarray(found.affine.TransformPoint((0.0, 0.0, 0.0)))
    assert np.allclose(origin, shift.GetTranslation(), atol=2.0)
    assert np.linalg.norm(fields.vectors(found.warp), axis=-1).max() < 2.0


def test_a_frame_keeps_physical_space() -> None:
    found = frame.make_frame(FIXED[0], FIXED[0], (FIXED[1], FIXED[1]), sitk.AffineTransform(3), 3.0)
    assert found.grid.GetSpacing() == (3.0, 3.0, 3.0)
    assert torch.equal(found.fixed, found.moving)
    # one voxel along the frame's x axis is 3 mm along that axis in physical space
    field = torch.zeros(1, 3, *found.fixed.shape[2:])
    field[:, 2] = 1.0
    warp = fields.vectors(frame.to_itk(field, found.grid, FIXED[0]))
    middle = tuple(n // 2 for n in warp.shape[:3])
    axis = np.asarray(found.grid.GetDirection()).reshape(3, 3)[:, 0]
    assert np.allclose(warp[middle], 3.0 * axis, atol=1e-5)
    assert not warp[0, 0, 0].any()


def test_an_affine_of_voxels_in_physical_space() -> None:
    grid = cases.oblique((20, 24, 28), (2.0, 2.0, 2.0))
    # a shift of one voxel of the network's grid, which is half as fine, along its first axis, z
    matrix = torch.eye(3, 4)[None]
    matrix[0, 0, 3] = 1.0
    found = network.physical(matrix, grid, (14, 12, 10))
    step = 2.0 * 27 / 13
    axis = np.asarray(grid.GetDirection()).reshape(3, 3)[:, 2]
    point = np.asarray((3.0, -7.0, 11.0))
    assert np.allclose(found.TransformPoint(point.tolist()), point + step * axis)


def test_a_batch_loads_the_model_once(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    whole = network.load
    monkeypatch.setattr(network, "load", lambda *given: loads.append(given) or whole(*given))
    for name, image in (("moving", MOVING[0]), ("fixed", FIXED[0])):
        images.write_image(image, tmp_path / f"{name}.nii.gz")
    row = f"{tmp_path}/moving.nii.gz\t{tmp_path}/fixed.nii.gz\t{tmp_path}/"
    batch = tmp_path / "batch.tsv"
    batch.write_text("moving\tfixed\toutput\n" + "".join(f"{row}out{n}\n" for n in range(2)))
    options = json.dumps({"affine": "centre", "voxelmorph": {"refine": False}})
    arguments = ["register", "--batch", batch, "--method", "voxelmorph", "--model", bundle]
    assert cli.main([*map(str, arguments), "--params", options]) == 0
    assert len(loads) == 1
    assert (tmp_path / "out1" / "moved.nii.gz").is_file()


def broken(bundle: Path, folder: Path, fault: str) -> Path:
    copy = folder / "copy"
    shutil.copytree(bundle, copy)
    path = copy / "metadata.json"
    metadata = json.loads(path.read_text())
    if fault == "weights":
        (copy / "model.safetensors").write_bytes(b"other")
    elif fault == "architecture":
        metadata["architecture"]["register"]["name"] = "magic"
    elif fault == "arguments":
        metadata["architecture"]["register"]["arguments"]["hidden"] = 5
    elif fault == "spacing":
        del metadata["inputs"]["spacing_mm"]
    elif fault == "stage":
        metadata["stage"] = "denoise"
    path.write_text(json.dumps(metadata))
    return copy


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("weights", "E-MODEL-CHECKSUM"),
        ("architecture", "E-MODEL-INPUT"),
        ("arguments", "E-MODEL-INPUT"),
        ("spacing", "E-MODEL-INPUT"),
        ("stage", "E-MODEL-INPUT"),
    ],
)
def test_bundles_that_do_not_fit_are_refused(
    bundle: Path, tmp_path: Path, fault: str, code: str
) -> None:
    with pytest.raises(VoxelwayError) as caught:
        run("voxelmorph", broken(bundle, tmp_path, fault))
    assert caught.value.code == code
