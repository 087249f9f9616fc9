"""The configuration is refused in one paragraph with a code."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import config
from pipeline.errors import VoxelwayError
from workflow.lib import handbook

ROOT = Path(__file__).resolve().parents[2]


def refused(**raw: object) -> VoxelwayError:
    with pytest.raises(VoxelwayError) as caught:
        config.resolve({"dicom": "d", "results": "r", **raw})
    return caught.value


def test_defaults_are_complete() -> None:
    settings = config.resolve({"dicom": "d", "results": "r"})
    assert settings["seed"] == 0
    assert settings["denoise"]["method"] == "collaborative"
    assert set(config.SECTIONS) <= set(settings)


def test_misspelt_key_names_the_right_one() -> None:
    error = refused(denoise={"strenght": 1.0})
    assert error.code == "E-CONFIG-KEY"
    assert "'denoise.strenght' is no key (did you mean 'strength'?)" in error.what
    assert refused(denoice={}).code == "E-CONFIG-KEY"


def test_wrong_type_and_missing_key() -> None:
    assert refused(denoise={"strength": "much"}).code == "E-CONFIG-VALUE"
    assert refused(denoise=3).code == "E-CONFIG-VALUE"
    with pytest.raises(VoxelwayError, match="'results' is a required property"):
        config.resolve({"dicom": "d"})


def test_numbers_from_the_command_line_arrive_as_text() -> None:
    raw = {"dicom": "d", "results": "r", "denoise": {"strength": "0.5"}, "evaluate": {"truth": "7"}}
    settings = config.resolve(raw)
    assert settings["denoise"]["strength"] == 0.5
    assert settings["evaluate"]["truth"] == "7"


def test_files_of_the_repository_are_valid() -> None:
    base = config.read(ROOT / "config" / "config.yaml")
    config.resolve(base)
    for preset in sorted((ROOT / "config" / "presets").glob("*.yaml")):
        config.resolve({**base, **config.read(preset)})


def test_broken_yaml(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: [1")
    with pytest.raises(VoxelwayError, match="E-CONFIG-FILE"):
        config.read(path)
    path.write_text("- 1")
    with pytest.raises(VoxelwayError, match="E-CONFIG-FILE"):
        config.read(path)


def test_every_key_is_described() -> None:
    def walk(part: dict, place: str) -> None:
        for key, sub in part["properties"].items():
            if sub.get("type") == "object" and "properties" in sub:
                walk(sub, f"{place}.{key}")
            else:
                assert sub.get("description"), f"{place}.{key} has no description"
                assert "default" in sub or key in part.get("required", ()), f"{place}.{key}"

    walk(config.schema(), "")


def test_handbook_is_current() -> None:
    written = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    assert written == handbook.handbook(), "run `make docs`"
