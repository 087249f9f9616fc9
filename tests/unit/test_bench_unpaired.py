"""The benchmark of unpaired synthesis: its table, its baseline, its reference segmenters."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.benchmarks.synthesize import looks, unpaired
from tests.unit import unpaired_cases as cases


def test_table_has_a_line_a_method_and_its_intervals() -> None:
    rows = [unpaired._row("image", "cyclegan", f"s{k}", "PSNR, dB", 20.0 + k) for k in range(3)]
    rows.append(unpaired._row("realism", "cyclegan", "all", "squared MMD", 0.25))
    lines = unpaired.table_of(rows).splitlines()
    # mean 21, deviation 1, t of two degrees of freedom 4.303: half 2.484
    assert lines[:3] == [
        "| image | PSNR, dB |",
        "| --- | --- |",
        "| cyclegan | 21.000 (18.516 to 23.484) |",
    ]
    assert lines[-1] == "| cyclegan | 0.25 |"


def test_histogram_matching_keeps_order_and_gives_the_targets_values() -> None:
    judge = unpaired.Judge.__new__(unpaired.Judge)
    judge.shares = np.linspace(0.0, 1.0, 3)
    judge.quantiles = np.array([1.0, 5.0, 6.0])
    image = torch.tensor([0.0, 10.0, 20.0, 30.0]).view(1, 1, 1, 1, 4)
    # 0 is background; 10, 20 and 30 are the lowest, the median and the highest
    assert judge.matched(image).flatten().tolist() == [0.0, 1.0, 5.0, 6.0]


def test_dice_is_of_the_classes_that_a_subject_has() -> None:
    scan = SimpleNamespace(
        name="a", labels=torch.tensor([[[1, 3, 0]]]), contrasts={"T2w": torch.zeros(1, 1, 3)}
    )
    joint = SimpleNamespace(dices=lambda found, image, classes: {1: 0.5, 3: 1.0})
    rows = unpaired.dices("x", joint, {}, [scan], "T2w")
    assert [(row["measure"], row["value"]) for row in rows] == [("Dice CSF", 0.5), ("Dice WM", 1.0)]


def test_unknown_methods_are_refused() -> None:
    from pipeline.errors import VoxelwayError

    with pytest.raises(VoxelwayError, match="E-USAGE"):
        unpaired._arguments(["--methods", "cyclegan,magic"])


def test_realism_of_every_method_stands_in_one_table(tmp_path: Path) -> None:
    scans = {name: cases.scan(name, ("T1w", "T2w"), k) for k, name in enumerate("abc")}
    made: looks.Made = {}
    for scan in scans.values():
        looks.keep(made, "perfect", scan, scan.contrasts["T2w"].numpy())
        looks.keep(made, "source", scan, scan.contrasts["T1w"].numpy())
    lines = looks.table(made, scans, tmp_path, 2).splitlines()
    perfect, source = ([float(cell) for cell in line.split("|")[2:-1]] for line in lines[2:4])
    # Fréchet distance, that of equal samples, MMD, its p, accuracy of the classifier
    assert source[0] > 3 * perfect[0] and source[3] < 0.05 < perfect[3]
    assert source[4] > 0.8 and perfect[4] < 0.7
    assert any(line.startswith("- 3 subjects") for line in lines)
