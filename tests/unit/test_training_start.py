"""Trainings that begin with the weights of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from pipeline import cli, images
from pipeline.bundles import Tensors, read_bundle
from pipeline.errors import Exit, VoxelwayError
from pipeline.models import shipped
from pipeline.training.start import Start
from tests.unit import superres_cases
from tests.unit.test_restore_parts import ball

#: The architecture of each stage, tiny.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "denoise": ("drunet", {"features": [16, 16], "blocks": 1}),
    "superres": ("anyscale", dict(superres_cases.TINY["anyscale"])),
}
STAGES = sorted(NETWORKS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(1, 4):
        images.write_image(ball(28, 0.05, number), tmp_path / f"sub-{number}_T1w.nii.gz")
    return tmp_path


def trained(
    folder: Path, out: Path, stage: str, *, start: str = "", rate: float = 1e-9, seed: int = 1,
    **arguments: Any,
) -> int:  # fmt: skip
    """Train for two steps; a rate of 1e-9 leaves the weights where they were."""
    entry = {"name": "balls", "folder": str(folder), "files": "sub-*", "contrast": "T1w",
             "licence": "CC0"}  # fmt: skip
    architecture, own = NETWORKS[stage]
    section = {
        "method": architecture,
        "network": {"architecture": architecture, "arguments": {**own, **arguments}},
        "learning": {"data": [entry], "patch": 16, "validation_patch": 16, "start": start},
        "training": {"steps": 2, "batch": 2, "warmup": 1, "validate_every": 2,
                     "learning_rate": rate},
    }  # fmt: skip
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({"seed": seed, stage: section}))
    return cli.main(["train", stage, "--config", str(path), "--out", str(out)])


def learned(bundle: Path, stage: str) -> Tensors:
    return read_bundle(bundle, stage).tensors


def alike(one: Tensors, other: Tensors) -> bool:
    return all(np.allclose(values, other[name], atol=1e-6) for name, values in one.items())


@pytest.mark.parametrize("stage", STAGES)
def test_training_begins_with_the_weights_of_a_bundle(folder: Path, stage: str) -> None:
    first, other, next_one = folder / "first", folder / "other", folder / "next"
    assert trained(folder, first, stage, rate=0.01) == 0
    assert trained(folder, other, stage, rate=0.01, seed=2) == 0
    assert trained(folder, next_one, stage, seed=3) == 0
    assert not alike(learned(first, stage), learned(next_one, stage))
    # in the same folder: the checkpoint of a training with another start is not gone on from
    for bundle in (first, other):
        assert trained(folder, next_one, stage, start=str(bundle), seed=3) == 0
        assert alike(learned(bundle, stage), learned(next_one, stage))
        told = read_bundle(next_one, stage).metadata["training"]["start"]
        assert told == read_bundle(bundle, stage).metadata["weights"]["sha256"]
        assert told[:12] in (next_one / "README.md").read_text()
    assert read_bundle(first, stage).metadata["training"]["start"] == ""


def test_what_the_bundle_lacks_is_fresh(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, deeper, wider = folder / "first", folder / "deeper", folder / "wider"
    assert trained(folder, first, "denoise", rate=0.01) == 0
    before = learned(first, "denoise")
    assert trained(folder, deeper, "denoise", start=str(first), blocks=2) == 0
    found = learned(deeper, "denoise")
    assert alike(before, found) and set(found) > set(before)
    assert f"begins with {len(before)} of {len(found)} tensors" in capsys.readouterr().err
    assert trained(folder, wider, "denoise", start=str(first), features=[16, 24]) == 0
    found = learned(wider, "denoise")
    same = {name for name in before if before[name].shape == found[name].shape}
    assert alike({name: before[name] for name in same}, found)
    assert 0 < len(same) < len(before)


def test_what_fits_nowhere_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, out = folder / "first", folder / "out"
    assert trained(folder, first, "denoise") == 0
    with pytest.raises(VoxelwayError, match=r"E-MODEL-INPUT: .* fit the network denoise"):
        Start.of("denoise", str(first)).fill(torch.nn.Conv3d(2, 2, 1), "denoise")
    assert trained(folder, out, "superres", start=str(first)) == Exit.REFUSED
    assert "E-MODEL-INPUT" in capsys.readouterr().err
    assert trained(folder, out, "denoise", start="nowhere") == Exit.REFUSED
    assert "E-MODEL-MISSING" in capsys.readouterr().err
    assert not out.exists()


def test_a_bundle_that_ships_goes_by_its_name() -> None:
    found = Start.of("denoise", "refined_filters")
    assert (
        found.digest
        == read_bundle(shipped("denoise", "refined_filters"), "denoise").metadata["weights"][
            "sha256"
        ]
    )
    assert Start.of("denoise", "").digest == ""
