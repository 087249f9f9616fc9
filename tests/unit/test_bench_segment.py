"""The benchmark of trained segmentation: folds, jobs of both sides, scores, the table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import yaml

from pipeline.errors import Exit, VoxelwayError
from tests.benchmarks import launch
from tests.benchmarks.segment import __main__ as bench_main
from tests.benchmarks.segment import bench, cases, drawn, peers
from tests.benchmarks.segment.table import mean_dice, table


def folder_of(path: Path, count: int) -> Path:
    """Images whose labels are half 1, half 2."""
    for side in ("images", "labels"):
        (path / side).mkdir(parents=True)
    values = np.ones((2, 2, 4), np.uint8)
    values[..., 2:] = 2
    for number in range(count):
        for side in ("images", "labels"):
            sitk.WriteImage(
                sitk.GetImageFromArray(values), str(path / side / f"case{number}.nii.gz")
            )
    return path


def test_pairs_are_read_in_their_order(tmp_path: Path) -> None:
    found = cases.read(folder_of(tmp_path, 3))
    assert [case.name for case in found] == ["case0", "case1", "case2"]
    assert cases.labels_of(found) == [1, 2]
    (tmp_path / "labels" / "case1.nii.gz").unlink()
    with pytest.raises(VoxelwayError, match="case1"):
        cases.read(tmp_path)
    with pytest.raises(VoxelwayError, match="E-USAGE"):
        cases.read(tmp_path / "nowhere")


def test_every_case_is_tested_once_and_never_trained_on_then() -> None:
    some = [cases.Case(f"c{n:02d}", Path(), Path()) for n in range(13)]
    tested: list[str] = []
    for fold in range(5):
        train, test = cases.split(some, fold, 5, seed=3)
        assert not {case.name for case in train} & {case.name for case in test}
        assert len(train) + len(test) == 13
        assert test == sorted(test, key=lambda case: case.name)
        tested += [case.name for case in test]
    assert sorted(tested) == [case.name for case in some]
    assert cases.split(some, 1, 5, 3) == cases.split(some, 1, 5, 3)
    assert cases.split(some, 1, 5, 3) != cases.split(some, 1, 5, 4)


@pytest.mark.parametrize("fold, folds", [(5, 5), (-1, 5), (0, 1), (0, 14)])
def test_folds_that_there_are_not(fold: int, folds: int) -> None:
    some = [cases.Case(str(n), Path(), Path()) for n in range(13)]
    with pytest.raises(VoxelwayError, match="E-USAGE"):
        cases.split(some, fold, folds, 0)


def test_dice_by_hand(tmp_path: Path) -> None:
    found = cases.read(folder_of(tmp_path, 1))
    made = np.ones((2, 2, 4), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(made), str(tmp_path / "made.nii.gz"))
    scores = cases.dice(tmp_path / "made.nii.gz", found[0].labels, [1, 2, 3])
    # 16 voxels called 1, of which 8 are
    assert scores[1] == pytest.approx(2 * 8 / (16 + 8))
    assert scores[2] == 0
    assert math.isnan(scores[3])


def test_nnunet_gets_the_cases_in_its_form(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", 2)
    peers.lay_out(data, tmp_path / "work", [1, 2])
    raw = tmp_path / "work" / "raw" / peers.DATASET
    assert (raw / "imagesTr" / "case1_0000.nii.gz").resolve() == data / "images" / "case1.nii.gz"
    assert (raw / "labelsTr" / "case0.nii.gz").resolve() == data / "labels" / "case0.nii.gz"
    told = json.loads((raw / "dataset.json").read_text())
    assert told["labels"] == {"background": 0, "label1": 1, "label2": 2}
    assert told["numTraining"] == 2


class Jobs:
    """In place of the processes: copies the truth, except where it is told to fail."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.seen: list[dict[str, Any]] = []

    def __call__(
        self, benchmark: str, content: Mapping[str, Any], out: Path, peer: Path | None
    ) -> dict[str, Any]:
        self.seen.append({**content, "peer": peer})
        out.mkdir(parents=True, exist_ok=True)
        if content["task"] == self.fails:
            raise launch.JobError("it broke")
        facts = {"train_s": 7.0}
        if content["task"] == "segment":
            facts = {}
            for path in map(Path, content["images"]):
                labels = path.parent.with_name("labels") / path.name
                (out / path.name).write_bytes(labels.read_bytes())
                facts[path.name.removesuffix(".nii.gz")] = 0.5
        (out / "facts.json").write_text(json.dumps(facts))
        return {"seconds": 1.0, "peak_mb": 100.0, "version": "one"}


def run(tmp_path: Path, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, *more: str) -> Exit:
    monkeypatch.setattr(launch, "run", jobs)
    out = tmp_path / "bench.tsv"
    data = folder_of(tmp_path / "data", 5)
    return bench_main.main([str(data), "--steps", "20", "--out", str(out), *more])


def test_both_train_once_on_the_same_cases_for_as_many_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Jobs()
    assert run(tmp_path, jobs, monkeypatch) == Exit.DONE
    kinds = [(job["task"], job["peer"] is not None, job.get("mirroring")) for job in jobs.seen]
    assert kinds == [
        ("train", True, None), ("segment", True, True), ("segment", True, False),
        ("train", False, None), ("segment", False, None),
    ]  # fmt: skip
    theirs, ours = jobs.seen[0], jobs.seen[3]
    config = yaml.safe_load(Path(ours["config"]).read_text())["segment"]
    assert theirs["steps"] == config["training"]["steps"] == 20
    assert config["learning"]["data"][0]["folder"] == theirs["data"]
    names = sorted(path.name for path in (Path(theirs["data"]) / "images").iterdir())
    split = json.loads((tmp_path / "bench-segment" / "fold-0" / "split.json").read_text())
    assert [f"{name}.nii.gz" for name in split["train"]] == names
    assert len(split["train"]) == 4 and len(split["test"]) == 1
    assert len({tuple(job["images"]) for job in jobs.seen if job["task"] == "segment"}) == 1
    printed = capsys.readouterr().out
    assert "| voxelway | 1 | 1.000 | 1.000 | 1.000 |" in printed
    assert "20 steps on 4 cases" in printed


def test_a_configuration_keeps_all_but_data_folds_and_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given.yaml"
    learning = {
        "labels": "hippocampus",
        "repeats": 1,
        "folds": 5,
        "networks": 2,
        "data": [{"name": "x"}],
    }
    training = {"steps": 9999, "learning_rate": 0.5}
    content = {"segment": {"learning": learning, "training": training}}
    given.write_text(yaml.safe_dump(content))
    jobs = Jobs()
    run(tmp_path, jobs, monkeypatch, "--config", str(given), "--methods", "voxelway")
    made = yaml.safe_load(Path(jobs.seen[0]["config"]).read_text())["segment"]
    assert made["learning"]["labels"] == "hippocampus"
    # one network, as the other side trains one
    assert made["learning"]["folds"] == made["learning"]["networks"] == 1
    assert made["learning"]["repeats"] == 1
    assert [entry["name"] for entry in made["learning"]["data"]] == ["bench"]
    assert made["training"] == {"steps": 20, "learning_rate": 0.5}


def test_a_training_that_fails_is_told_and_the_other_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, Jobs("train"), monkeypatch) == Exit.SOME
    told = capsys.readouterr()
    assert told.err.count("it broke") == len(bench.METHODS)
    assert "| voxelway | 0 |" in told.out


def test_wrong_arguments(tmp_path: Path) -> None:
    for wrong in (["--methods", "unet"], ["--steps", "0"], ["--fold", "7"]):
        with pytest.raises(VoxelwayError, match="E-USAGE"):
            bench_main.main([str(folder_of(tmp_path / wrong[0], 5)), *wrong,
                             "--out", str(tmp_path / "o.tsv")])  # fmt: skip


def test_labels_that_nnunet_does_not_take(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", 5)
    values = np.full((2, 2, 4), 7, np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(data / "labels" / "case0.nii.gz"))
    with pytest.raises(VoxelwayError, match=r"\[1, 2, 7\]"):
        bench_main.main([str(data), "--out", str(tmp_path / "o.tsv")])


def test_table_by_hand() -> None:
    rows = [
        {"method": "a", "case": "1", "dice_1": 0.8, "dice_2": 0.6, "seconds": 1.0, "train_s": 60.0},
        {"method": "a", "case": "2", "dice_1": 0.6, "dice_2": math.nan, "seconds": 3.0},
        {"method": "b", "case": "all", "error": "broke"},
    ]
    assert mean_dice(rows[0], [1, 2]) == pytest.approx(0.7)
    assert mean_dice(rows[1], [1, 2]) == 0.6
    lines = table(rows, [1, 2]).splitlines()
    # Student's t of one degree of freedom is 12.706: 12.706 * 0.1 and 12.706 * 0.05
    assert "| a | 2 | 0.700 ± 1.271 | 0.600 | 0.650 ± 0.635 |" in lines[2]
    assert "| 60 |" in lines[2] and "2.00 ± 12.71" in lines[2]
    assert lines[3].startswith("| b | 0 | ")


#: All of the twenty voxels.
BOX = {"Index": [0, 0, 0], "Size": [20, 1, 1]}


def test_a_label_without_a_dice_is_no_error_where_it_is_right() -> None:
    # ten voxels of fluid (24), ten of a structure (2), of which one, the least sure, is missed
    truth = np.repeat([24, 2], 10).reshape(1, 1, 20).astype(np.uint16)
    found, unsure = truth.copy(), np.full(truth.shape, 0.1, np.float32)
    found[0, 0, 10], unsure[0, 0, 10:12] = 24, (0.9, 0.8)
    labels, entropy, known = (sitk.GetImageFromArray(one) for one in (found, unsure, truth))
    told = dict(drawn.measures(labels, entropy, known, {2: "part"}, [2, 24], BOX))
    # 2 · 9 / (9 + 10); the tenth that is most unsure are two voxels of twenty
    assert told["Dice of part"] == pytest.approx(18 / 19)
    assert told["errors in the most uncertain tenth"] == 1.0
    unsure[0, 0, 10] = 0.05
    told = dict(
        drawn.measures(labels, sitk.GetImageFromArray(unsure), known, {2: "part"}, [2, 24], BOX)
    )
    assert told["errors in the most uncertain tenth"] == 0.0
