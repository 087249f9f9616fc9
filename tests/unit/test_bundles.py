"""Bundles: whole, checked, without pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import bundles
from pipeline.errors import VoxelwayError

TENSORS = {"a/weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float64)}


def metadata(**more: Any) -> dict[str, Any]:
    training = {"subjects": 3, "split": "train", "seed": 0, "code": "abc", "version": "0.1.0"}
    return {
        "stage": "synthesize",
        "architecture": {"name": "x"},
        "inputs": {},
        "outputs": {},
        "training": training,
        **more,
    }


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    out = tmp_path / "models" / "one"
    bundles.write_bundle(out, TENSORS, metadata(), "# Card\n")
    return out


def test_what_was_written_is_read(bundle: Path) -> None:
    found = bundles.read_bundle(bundle, "synthesize")
    assert set(found.tensors) == set(TENSORS)
    for name, values in TENSORS.items():
        assert np.array_equal(found.tensors[name], values)
        assert found.tensors[name].dtype == values.dtype
    assert found.metadata["weights"]["tensors"] == {"a/weight": [2, 3], "b": [2]}
    assert {path.name for path in bundle.parent.iterdir()} == {"one"}


def test_the_same_weights_give_the_same_files(bundle: Path, tmp_path: Path) -> None:
    bundles.write_bundle(tmp_path / "two", TENSORS, metadata(), "# Card\n")
    for path in bundle.iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_bundle_is_replaced_and_nothing_is_left(bundle: Path) -> None:
    bundles.write_bundle(bundle, {"c": np.zeros(1, np.float32)}, metadata(), "# New\n")
    assert set(bundles.read_bundle(bundle, "synthesize").tensors) == {"c"}
    assert {path.name for path in bundle.parent.iterdir()} == {"one"}


def test_a_bundle_without_weights_is_one(tmp_path: Path) -> None:
    bundles.write_bundle(tmp_path / "none", {}, metadata(), "# None\n")
    assert bundles.read_bundle(tmp_path / "none", "synthesize").tensors == {}


def test_other_folders_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(VoxelwayError, match="E-CONFIG-PATH"):
        bundles.write_bundle(tmp_path, TENSORS, metadata(), "")
    assert (tmp_path / "thesis.doc").exists()


def test_metadata_must_be_complete(tmp_path: Path) -> None:
    lacking = metadata()
    del lacking["training"]["seed"]
    with pytest.raises(ValueError, match=r"training\.seed"):
        bundles.write_bundle(tmp_path / "x", TENSORS, lacking, "")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "metadata.json"])
def test_a_missing_file(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(VoxelwayError, match=f"E-MODEL-MISSING.*{name}"):
        bundles.read_bundle(bundle, "synthesize")


def test_a_flipped_bit(bundle: Path) -> None:
    path = bundle / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(VoxelwayError, match="E-MODEL-CHECKSUM"):
        bundles.read_bundle(bundle, "synthesize")


def test_a_pickle_with_a_fitting_checksum_is_not_loaded(bundle: Path, tmp_path: Path) -> None:
    import pickle

    from pipeline import files

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    path = bundle / "model.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    about = json.loads((bundle / "metadata.json").read_text())
    about["weights"]["sha256"] = files.sha256(path)
    (bundle / "metadata.json").write_text(json.dumps(about))
    with pytest.raises(VoxelwayError, match="E-MODEL-CHECKSUM"):
        bundles.read_bundle(bundle, "synthesize")
    assert not (tmp_path / "executed").exists()


def test_a_bundle_of_another_stage(bundle: Path) -> None:
    with pytest.raises(VoxelwayError, match="E-MODEL-INPUT"):
        bundles.read_bundle(bundle, "denoise")


def test_incomplete_metadata(bundle: Path) -> None:
    (bundle / "metadata.json").write_text('{"stage": "synthesize"}')
    with pytest.raises(VoxelwayError, match=r"E-MODEL-MISSING.*training\.seed"):
        bundles.read_bundle(bundle, "synthesize")
