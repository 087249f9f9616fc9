"""From a training to a bundle and back: whole, described, refused where it does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import bundles, cli, files, methods, models, networks
from pipeline.bundles.networks import load
from pipeline.errors import VoxelwayError
from pipeline.training.bundle import About, Architecture, Score, write
from pipeline.training.curve import as_csv, as_png
from pipeline.training.trainer import Fitted

from . import training_cases as cases

PNG = b"\x89PNG\r\n\x1a\n"


class Small(nn.Module):
    """A network with a counter that has no axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map, self.norm = nn.Linear(3, width), nn.BatchNorm1d(width)


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader knows the architecture of the tests beside those of the project."""
    real = networks.build

    def build(name: str, arguments: Any) -> nn.Module:
        return Small(**arguments) if name == "small" else real(name, arguments)

    monkeypatch.setattr("pipeline.bundles.networks.build", build)


def about(**more: Any) -> About:
    usual: dict[str, Any] = {
        "stage": "register",
        "architectures": {"net": Architecture("small", {"width": 2})},
        "inputs": {"contrasts": ["T1w"]},
        "outputs": {"field": "velocity"},
        "subjects": {"train": 4, "val": 2},
        "data": [{"name": "phantom", "licence": "Apache-2.0"}],
        "code": "abc",
        "scores": {"Dice": Score.of([0.5, 0.7]), "folds": Score.of([0.0])},
        "title": "A model",
        "purpose": "tests.",
        "limits": ["reading"],
    }
    return About(**{**usual, **more})


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Small(2)


@pytest.fixture
def fitted(network: nn.Module) -> Fitted:
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    history = [
        {"step": 10.0, "net/loss": 2.0, "validation/error": 0.5},
        {"step": 20.0, "net/loss": 1.0, "validation/error": 0.25},
    ]
    both = {"net": weights, "critic": {"w": np.ones(1)}}
    return Fitted(both, 20, 0.25, 20, history, 3.5, 100, "cpu", False)


@pytest.fixture
def bundle(tmp_path: Path, fitted: Fitted) -> Path:
    write(tmp_path / "out", fitted, "error", cases.plan(), about())
    return tmp_path / "out"


def test_there_and_back(bundle: Path, network: nn.Module) -> None:
    loaded = load(bundle, "register")
    assert set(loaded.networks) == {"net"}  # the critic stayed behind
    found = loaded.networks["net"]
    assert not found.training
    for key, value in network.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)
    training = loaded.metadata["training"]
    assert training["subjects"] == {"train": 4, "val": 2} and training["best_step"] == 20
    assert training["plan"]["batch"] == 4 and training["device"] == "cpu"
    assert loaded.metadata["architecture"]["net"] == {"name": "small", "arguments": {"width": 2}}


def test_curve_table_and_card_are_inside(bundle: Path, fitted: Fitted) -> None:
    assert (bundle / "training.png").read_bytes().startswith(PNG)
    lines = (bundle / "training.csv").read_text().splitlines()
    assert lines == ["step,net/loss,validation/error", "10,2,0.5", "20,1,0.25"]
    card = (bundle / "README.md").read_text()
    assert "phantom: Apache-2.0" in card and "| folds | 0 | 1 |" in card
    # training again replaces the bundle with these files in it
    write(bundle, fitted, "error", cases.plan(), about(title="Another"))
    assert "# Another" in (bundle / "README.md").read_text()
    assert {path.name for path in bundle.parent.iterdir()} == {"out"}


def test_no_other_files_go_in(tmp_path: Path) -> None:
    metadata: dict[str, Any] = {
        "stage": "x", "architecture": {}, "inputs": {}, "outputs": {},
        "training": dict.fromkeys(("subjects", "split", "seed", "code", "version"), 0),
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"virus\.sh"):
        bundles.write_bundle(tmp_path / "x", {}, metadata, "", {"virus.sh": b""})
    assert not (tmp_path / "x").exists()


def test_the_interval_is_students() -> None:
    score = Score.of([1.0, 2.0, 3.0])
    # mean 2, SD 1, t(0.975; 2) = 4.3027: half width 4.3027 / sqrt(3) = 2.4841
    assert (score.mean, score.cases) == (2.0, 3)
    assert score.low == pytest.approx(2.0 - 2.4841, abs=1e-4)
    assert score.high == pytest.approx(2.0 + 2.4841, abs=1e-4)
    assert Score.of([5.0]) == Score(5.0, None, None, 1)


def change(bundle: Path, edit: Any) -> None:
    content = json.loads((bundle / "metadata.json").read_text())
    edit(content)
    files.write_json(bundle / "metadata.json", content)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["architecture"]["net"].update(name="alien"), "alien"),
        (lambda m: m["architecture"]["net"]["arguments"].update(width=3),
         r"map\.bias is 2, not 3"),
        (lambda m: m["architecture"].update(net="small"), "name and arguments"),
        (lambda m: m["architecture"].clear(), "name and arguments"),
        (lambda m: m["architecture"].update(more=m["architecture"].pop("net")), "is missing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(bundle: Path, edit: Any, message: str) -> None:
    change(bundle, edit)
    with pytest.raises(VoxelwayError, match=rf"E-MODEL-INPUT.*{message}"):
        load(bundle, "register")


def test_tensors_of_no_network_and_nan_are_refused(tmp_path: Path, fitted: Fitted) -> None:
    weights = fitted.weights["net"]
    metadata: dict[str, Any] = {
        "stage": "register", "inputs": {}, "outputs": {},
        "architecture": {"net": {"name": "small", "arguments": {"width": 2}}},
        "training": dict.fromkeys(("subjects", "split", "seed", "code", "version"), 0),
    }  # fmt: skip
    named = {f"net/{key}": value for key, value in weights.items()}
    bundles.write_bundle(tmp_path / "a", {**named, "ghost/w": np.ones(1)}, metadata, "")
    with pytest.raises(VoxelwayError, match=r"E-MODEL-INPUT.*ghost"):
        load(tmp_path / "a", "register")
    broken = {**named, "net/map.bias": np.full(2, np.nan, np.float32)}
    bundles.write_bundle(tmp_path / "b", broken, metadata, "")
    with pytest.raises(VoxelwayError, match=r"E-MODEL-INPUT.*map\.bias holds values"):
        load(tmp_path / "b", "register")


def test_a_bundle_of_another_stage_or_damaged(bundle: Path) -> None:
    with pytest.raises(VoxelwayError, match="E-MODEL-INPUT"):
        load(bundle, "segment")
    change(bundle, lambda m: m["weights"].update(sha256="0" * 64))
    with pytest.raises(VoxelwayError, match="E-MODEL-CHECKSUM"):
        load(bundle, "register")


def test_the_curve_is_the_same_each_time_and_takes_gaps() -> None:
    history = [
        {"step": 1.0, "g/loss": -1.0, "validation/x": float("nan")},
        {"step": 2.0, "c/loss": 3.0, "validation/x": 0.5},
    ]
    assert as_png(history, "x", 2) == as_png(history, "x", 2)
    assert as_csv(history).splitlines()[1] == "1,-1,nan,"


def test_the_shipped_bundle_is_used_without_model(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(methods, "learned", lambda stage, method: method == "net")
    with pytest.raises(VoxelwayError, match=r"E-MODEL-MISSING.*--model"):
        models.chosen("register", "net")
    target = tmp_path / "shipped" / "register" / "net"
    target.parent.mkdir(parents=True)
    bundle.rename(target)
    assert models.chosen("register", "net") == target
    assert models.chosen("register", "syn") is None
    assert models.chosen("register", "net", "elsewhere") == Path("elsewhere")
    with pytest.raises(VoxelwayError, match=r"E-MODEL-MISSING.*Models ship for: net"):
        models.shipped("register", "other")
    parsed = cli.build_parser().parse_args(["register", "a", "b", "c"])
    assert cli._model(parsed, "register", {"method": "net"}) == target
    parsed.model = Path("given")
    assert cli._model(parsed, "register", {"method": "net"}) == Path("given")


def test_learned_is_read_without_importing() -> None:
    assert methods.learned("synthesize", "patch_regression")
    assert not methods.learned("register", "syn")
    with pytest.raises(VoxelwayError, match="E-METHOD"):
        methods.learned("register", "none")


def test_train_of_a_stage_that_is_not_trained(capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("ingest", "nonsense"):
        assert cli.main(["train", stage, "--out", "x"]) == 2
        assert "E-USAGE" in capsys.readouterr().err
