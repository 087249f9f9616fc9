"""The benchmark of augmentation: splits, configurations, going on, the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import config
from pipeline.errors import VoxelwayError
from tests.benchmarks.augment import arms, bench
from tests.benchmarks.augment.table import of_cases, table
from tests.benchmarks.segment.cases import Case

FOUND = [
    Case(f"c{n:02d}", Path(f"/d/images/c{n:02d}"), Path(f"/d/labels/c{n:02d}")) for n in range(30)
]
BASE = {
    "segment": {
        "learning": {
            "labels": "hippocampus",
            "levels": [{"name": "fine", "spacing": 1, "patch": [40, 56, 40]}],
            "variety": {"flip": 0.0},
        },
        "training": {"steps": 1200, "precision": "bf16"},
    }
}


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


def test_no_case_is_in_two_parts_and_the_tested_ones_stay() -> None:
    small, large = (arms.split(FOUND, size, 8, 6, 0) for size in (5, 10))
    for one in (small, large):
        every = names([*one.train, *one.validation, *one.scans, *one.test])
        assert len(set(every)) == len(every)
    assert names(small.test) == names(large.test)
    assert names(small.validation) == names(large.validation)
    assert set(names(small.train)) < set(names(large.train))
    with pytest.raises(VoxelwayError, match="E-USAGE"):
        arms.split(FOUND, 22, 8, 6, 0)


@pytest.mark.parametrize("arm", list(arms.ARMS))
def test_configurations_are_valid(arm: str, tmp_path: Path) -> None:
    one = arms.split(FOUND, 5, 8, 6, 0)
    made = arms.segmenter(BASE, arm, one, tmp_path, 50, 2, {"base_channels": 8})
    section = config.section("segment", made["segment"])
    learning = section["learning"]
    assert learning["augmentation"] == arms.ARMS[arm]
    assert learning["base_channels"] == 8 and section["training"]["steps"] == 50
    assert learning["data"][0]["validation"] == names(one.validation)
    models = [name for name, path in learning["augmentation_models"].items() if path]
    assert set(models) == set(arms.ARMS[arm]) & set(arms.GENERATORS)
    assert bool(learning["augmentation_scans"]) == (arm == "one_shot")
    for name in models:
        content = arms.generator(BASE, name, one, tmp_path, 20, {"features": 8})
        chosen = config.section("synthesize", content["synthesize"])["augmentation"]
        assert chosen["generator"] == arms.GENERATORS[name]
        assert chosen["patch"] == [40, 56, 40] and chosen["training"]["precision"] == "bf16"


def test_a_run_goes_on_where_it_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, int]] = []

    def fake(base: Any, arm: str, one: Any, folder: Path, seed: int, setup: Any) -> bench.Row:
        trained.append((arm, seed))
        if len(trained) == 3:
            raise KeyboardInterrupt
        dice = {"none": 0.5, "classical": 0.75}[arm] + 0.01 * seed
        return {
            "size": "5", "arm": arm, "seed": str(seed), "steps": "50", "train_s": "1.0",
            "dice": f"{dice}", "cases": f"a={dice};b={dice + 0.1}",
        }  # fmt: skip

    monkeypatch.setattr(bench, "_trained", fake)
    monkeypatch.setattr(arms, "lay_out", lambda *_: None)
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump(BASE))
    setup = bench.Setup(base, 50, {}, {}, {}, tmp_path, tmp_path / "table.tsv")
    splits = {5: arms.split(FOUND, 5, 8, 6, 0)}
    with pytest.raises(KeyboardInterrupt):
        bench.run(splits, ["none", "classical"], range(2), setup, lambda _: None)
    rows = bench.run(splits, ["none", "classical"], range(2), setup, lambda _: None)
    assert trained == [("none", 0), ("classical", 0), ("none", 1), ("none", 1), ("classical", 1)]
    assert bench.read(setup.table) == rows and len(rows) == 4
    assert of_cases(rows[:1]) == {"a": 0.5, "b": 0.6}
    text = table(rows)
    assert "| 5 | none | 2 | 0.555 (" in text and "-0.250 (-0.250 to -0.250)" in text
    assert "| 5 | classical | 2 | 0.805 (" in text and text.count("\n") == 3
