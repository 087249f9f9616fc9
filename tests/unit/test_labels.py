"""The tables of labels: numbers, sides, tissues, colours, codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom.sr.codedict import codes

from pipeline import labels
from pipeline.errors import VoxelwayError

NAMES = ("tissues", "brain", "hippocampus")


@pytest.mark.parametrize("name", NAMES)
def test_numbers_names_and_colours_are_distinct(name: str) -> None:
    table = labels.known(name)
    for values in zip(*((item.index, item.name, item.color) for item in table), strict=True):
        assert len(set(values)) == len(table)
    for item in table:
        assert len(bytes.fromhex(item.color.removeprefix("#"))) == 3


def test_sides_point_at_each_other_and_share_everything_but_the_side() -> None:
    table = {item.index: item for item in labels.known("brain")}
    paired = [item for item in table.values() if item.pair is not None]
    assert len(paired) == 28
    for item in paired:
        other = table[item.pair or 0]
        assert other.pair == item.index
        assert (other.tissue, other.snomed) == (item.tissue, item.snomed)
        assert {item.name.split("-", 1)[0], other.name.split("-", 1)[0]} == {"Left", "Right"}
        assert item.name.split("-", 1)[1] == other.name.split("-", 1)[1]
        assert item.modifier == (labels.LEFT if item.name.startswith("Left") else labels.RIGHT)


def test_tissues_are_those_of_the_tissue_table() -> None:
    tissues = {item.name for item in labels.TISSUES}
    assert all(item.tissue in tissues for name in NAMES for item in labels.known(name))
    brain = {item.name: item.tissue for item in labels.known("brain")}
    assert brain["Left-Cerebral-Cortex"] == brain["Right-Thalamus"] == "GM"
    assert brain["4th-Ventricle"] == "CSF"


def test_codes_of_the_brain_are_in_dicoms_context_group() -> None:
    named = [name for name in dir(codes.cid7140) if name[0].isupper()]
    group = [getattr(codes.cid7140, name) for name in named]
    listed = {(code.value, code.scheme_designator, code.meaning) for code in group}
    for item in (*labels.known("brain"), *labels.HIPPOCAMPUS):
        if item.name != "CSF":
            assert (item.snomed[0], item.scheme, item.snomed[1]) in listed
    assert labels.LEFT[0] == codes.SCT.Left.value
    assert labels.RIGHT[0] == codes.SCT.Right.value
    assert labels.HIPPOCAMPUS[0].modifier == (codes.SCT.Anterior.value, "Anterior")


def test_a_row_of_a_plan_comes_back() -> None:
    for name in NAMES:
        for item in labels.known(name):
            assert labels.of_row(json.loads(json.dumps(item.row()))) == item


def test_what_a_row_leaves_out_comes_from_the_tables() -> None:
    found = labels.of_row({"index": 3, "name": "Left-Hippocampus", "color": "#010203"})
    assert (found.index, found.color, found.tissue, found.pair) == (3, "#010203", "GM", None)
    assert found.snomed == ("5366008", "Hippocampus")
    other = labels.of_row({"index": 3, "name": "kidney"})
    assert other.snomed == labels.TISSUE and other.tissue == ""


def test_a_dseg_table_comes_back_with_its_codes(tmp_path: Path) -> None:
    path = tmp_path / "a_dseg.tsv"
    for table in (labels.STRUCTURES, labels.HIPPOCAMPUS):
        labels.write_table(table, path)
        assert labels.read(path) == table
    assert labels.read_table(path) == {1: "anterior-hippocampus", 2: "posterior-hippocampus"}


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(VoxelwayError, match="E-LABELS"):
        labels.known("liver")


def test_a_part_of_a_tissue_is_not_taken_for_all_of_it() -> None:
    ventricles = tuple(item for item in labels.STRUCTURES if item.name != "CSF")
    assert set(labels.tissues_of(ventricles)) == {"GM", "WM"}
    whole = labels.tissues_of(labels.STRUCTURES)
    assert len(whole["CSF"]) == 7 and len(whole["GM"]) == 18
    assert labels.tissues_of(labels.HIPPOCAMPUS) == {}
    assert [len(parts) for parts in labels.tissues_of(labels.TISSUES).values()] == [1] * 5


def test_labels_without_a_table_beside_them_have_none(tmp_path: Path) -> None:
    assert labels.beside(tmp_path / "a_dseg.nii.gz") is None
    labels.write_table(labels.HIPPOCAMPUS, tmp_path / "a_dseg.tsv")
    assert labels.beside(tmp_path / "a_dseg.nii.gz") == labels.HIPPOCAMPUS
