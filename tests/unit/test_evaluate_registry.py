"""The registry, its documentation, and the tables that go by it."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.evaluate import docs, registry
from pipeline.evaluate.cohort import write_cohort_metrics
from pipeline.evaluate.detection import detection
from pipeline.evaluate.overlap import overlap
from pipeline.evaluate.similarity import similarity
from pipeline.evaluate.surface import surface_measures
from pipeline.evaluate.table import COLUMNS, Table
from pipeline.paths import STAGES, Results, Unit

ROOT = Path(__file__).parents[2]


def test_documentation_is_current(tmp_path: Path) -> None:
    docs.write_docs(tmp_path / "metrics.md")
    written = (tmp_path / "metrics.md").read_text(encoding="utf-8")
    shipped = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert written == shipped, "run: python -m pipeline.evaluate.docs docs/metrics.md"


def test_documentation_has_every_measure() -> None:
    text = docs.document()
    for entry in registry.MEASURES.values():
        assert f"### `{entry.name}`: {entry.title}\n" in text
        assert entry.definition in text


@pytest.mark.parametrize("entry", registry.MEASURES.values(), ids=lambda entry: entry.name)
def test_entries_are_sound(entry: registry.Measure) -> None:
    assert entry.low < entry.high
    assert entry.definition.endswith(".")
    assert set(entry.stages) <= set(STAGES)
    assert entry.paper or entry.name == "seconds"
    if entry.good is not None:
        assert entry.low <= entry.good[0] <= entry.good[1] <= entry.high


def test_every_computed_measure_is_registered() -> None:
    mask = np.ones((3, 3, 3), dtype=bool)
    image = np.arange(27.0).reshape(3, 3, 3)
    computed = {
        **overlap(mask, mask, 1.0),
        **surface_measures(mask, mask, (1, 1, 1), 1.0),
        **detection(mask, mask, 0.0),
        **similarity(image, image, mask),
    }
    assert set(computed) <= set(registry.MEASURES)


def test_registry_is_light() -> None:
    code = "import sys, pipeline.evaluate.registry; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "value", "baseline", "expected"),
    [
        ("dice", 0.9, 0.8, True),
        ("dice", 0.7, 0.8, False),
        ("hd95", 1.0, 2.0, True),
        ("volume_error", -1.0, 3.0, True),
        ("volume_error", -4.0, 3.0, False),
        ("volume", 5.0, 3.0, None),
        ("dice", 0.8, 0.8, None),
    ],
)
def test_improved(name: str, value: float, baseline: float, expected: bool | None) -> None:
    assert registry.improved(name, value, baseline) is expected


def test_table_refuses_unknown_names_and_drops_undefined_values() -> None:
    table = Table(Unit("a", "1"))
    with pytest.raises(KeyError, match="dise"):
        table.add("segment", "dise", "GM", 1.0)
    with pytest.raises(KeyError, match="segmint"):
        table.add("segmint", "dice", "GM", 1.0)
    table.add("segment", "dice", "GM", math.nan, 1.0)
    table.add("denoise", "psnr", "T1w", math.inf)
    assert table.rows == []
    table.add("segment", "hd95", "GM", 1.0, math.nan)
    assert table.rows[0]["baseline"] is None
    assert table.rows[0]["unit"] == "mm"


def test_cohort_table_holds_all_units_in_order(tmp_path: Path) -> None:
    results = Results(tmp_path)
    for subject in ("b", "a"):
        unit = Unit(subject, "1")
        table = Table(unit)
        table.add("segment", "dice", "GM", 0.5, 0.25)
        table.add("denoise", "psnr", "T1w", 30.0)
        table.write(results.unit_metrics(unit))
    assert write_cohort_metrics(results) == 4
    rows = files.read_tsv(results.metrics)
    assert tuple(rows[0]) == COLUMNS
    keys = [(row["subject"], row["stage"]) for row in rows]
    assert keys == [("a", "denoise"), ("a", "segment"), ("b", "denoise"), ("b", "segment")]
    assert [row["value"] for row in rows] == ["30", "0.5", "30", "0.5"]
    assert [row["baseline"] for row in rows] == ["", "0.25", "", "0.25"]


def test_cohort_table_of_nothing_has_its_header(tmp_path: Path) -> None:
    assert write_cohort_metrics(Results(tmp_path)) == 0
    assert Results(tmp_path).metrics.read_text() == "\t".join(COLUMNS) + "\n"


def test_cohort_table_refuses_a_table_without_a_column(tmp_path: Path) -> None:
    results = Results(tmp_path)
    files.write_tsv(results.unit_metrics(Unit("a", "1")), ("subject", "value"), [{"subject": "a"}])
    with pytest.raises(VoxelwayError) as caught:
        write_cohort_metrics(results)
    assert caught.value.code == "E-FILE-READ"
    assert "stage" in caught.value.message
