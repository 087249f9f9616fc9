"""What a registration beyond a limit leads to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import cli, config, images
from pipeline.errors import CODES, VoxelwayError
from pipeline.register.gate import gate

from . import register_cases as cases

SOUND = {"mask_dice_after": 0.95, "folded_share": 0.0, "log_jacobian_sd": 0.5}


def flags(numbers: dict[str, float], **options: Any) -> list[str]:
    params = config.section("register", options)
    return [finding.flag for finding in gate({**SOUND, **numbers}, params, "sub-A")]


def test_a_sound_registration_has_no_finding() -> None:
    assert flags({}) == [] and flags({}, gate="refuse") == []


@pytest.mark.parametrize(
    ("key", "at", "beyond", "flag"),
    [
        ("mask_dice_after", 0.85, 0.84, "low_overlap"),
        ("folded_share", 0.001, 0.0011, "folding"),
        ("log_jacobian_sd", 0.9, 0.91, "implausible_jacobian"),
    ],
)
def test_a_limit_is_crossed_beyond_it_only(key: str, at: float, beyond: float, flag: str) -> None:
    assert flags({key: at}) == []
    assert flags({key: beyond}) == [flag]


def test_limits_come_from_the_configuration() -> None:
    numbers = {"mask_dice_after": 0.8, "folded_share": 0.01, "log_jacobian_sd": 1.2}
    assert flags(numbers) == ["low_overlap", "folding", "implausible_jacobian"]
    assert flags(numbers, low_overlap=0.7, max_folded=0.02, max_log_jacobian_sd=1.5) == []


@pytest.mark.parametrize(
    ("key", "value", "code", "shown"),
    [
        ("folded_share", 0.0123, "E-FOLD", ("1.23 %", "0.1 %", "max_folded")),
        ("log_jacobian_sd", 1.4, "E-JACOBIAN", ("1.4", "0.9", "max_log_jacobian_sd")),
    ],
)
def test_refusals_tell_number_limit_and_key(
    key: str, value: float, code: str, shown: tuple[str, ...]
) -> None:
    with pytest.raises(VoxelwayError) as caught:
        flags({key: value}, gate="refuse")
    assert caught.value.code == code and CODES[code].exit == 3
    assert all(part in caught.value.message for part in (*shown, "sub-A"))


def test_overlap_refuses_below_its_minimum_and_warns_above() -> None:
    assert flags({"mask_dice_after": 0.7}, gate="refuse") == ["low_overlap"]
    with pytest.raises(VoxelwayError, match="E-OVERLAP"):
        flags({"mask_dice_after": 0.59}, gate="warn")


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    paths = [tmp_path / name for name in ("moving.nii.gz", "fixed.nii.gz")]
    for (image, _), path in zip(cases.pair()[:2], paths, strict=True):
        images.write_image(sitk.Cast(image, sitk.sitkFloat32), path)
    return [str(path) for path in [*paths, tmp_path / "out"]]


def test_verb_warns_or_refuses(pair: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    options = {"method": "demons", "max_log_jacobian_sd": 0.01}

    def register(**more: Any) -> int:
        return cli.main(["register", *pair, "--params", json.dumps({**options, **more})])

    assert register(gate="refuse") == 3
    assert "E-JACOBIAN" in capfd.readouterr().err
    assert not Path(pair[-1]).exists()
    assert register() == 0
    assert "over 0.01" in capfd.readouterr().err
    numbers = json.loads((Path(pair[-1]) / "metrics.json").read_text())
    assert numbers["flags"] == ["implausible_jacobian"]
    assert numbers["log_jacobian_sd"] > 0.01
