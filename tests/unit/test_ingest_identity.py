"""Who is who: ids that are empty, paths, spelt in two ways, shared by two people."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import cli, files
from pipeline.errors import VoxelwayError
from pipeline.ingest import identity
from pipeline.ingest.index import Index, index_folder
from pipeline.paths import Results

from .ingest_dicom import params, series

KEY = bytes(range(32))


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_any_id_gives_a_plain_label_or_is_refused(patient: str) -> None:
    if not identity.normalised(patient):
        with pytest.raises(VoxelwayError, match="D-NO-PATIENT"):
            identity.pseudonym(KEY, patient)
    else:
        assert re.fullmatch(r"p[a-z2-7]{10}", identity.pseudonym(KEY, patient))


@pytest.mark.parametrize("patient", ["../../etc/passwd", "/root", "..", "a/b", "C:\\x", "-rf", "~"])
def test_ids_that_try_to_be_paths_stay_in_the_results(tmp_path: Path, patient: str) -> None:
    series(tmp_path / "in", PatientID=patient)
    results = Results(tmp_path / "results")
    assert index_folder(tmp_path / "in", results, params()) == 0
    assert files.read_tsv(results.manifest)[0]["subject"].isalnum()
    assert {path.name for path in tmp_path.iterdir()} == {"in", "results", "results-private"}


def test_one_spelling_of_an_id() -> None:
    # full-width digits, a composed and a decomposed letter, padding, case
    assert identity.pseudonym(KEY, "１２３") == identity.pseudonym(KEY, "123")
    assert identity.pseudonym(KEY, "Å1") == identity.pseudonym(KEY, "A\u030a1")
    assert identity.pseudonym(KEY, " ab\0") == identity.pseudonym(KEY, "AB")
    assert identity.pseudonym(KEY, "007") != identity.pseudonym(KEY, "7")


def same_label(key: bytes, text: str) -> str:
    return "aaaaaaaaaa"


Run = Callable[[Path, Path], int]


def as_index(source: Path, out: Path) -> int:
    return cli.main(["index", str(source), str(out)])


def as_deidentify(source: Path, out: Path) -> int:
    return cli.main(["deidentify", str(source), str(out)])


@pytest.mark.parametrize("run", [as_index, as_deidentify])
def test_two_patients_never_share_a_pseudonym(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    series(tmp_path / "in", "ONE")
    series(tmp_path / "in", "TWO")
    monkeypatch.setattr(identity, "_label", same_label)
    assert run(tmp_path / "in", tmp_path / "out") == 3
    assert "E-PSEUDONYM" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.dcm"))


@pytest.mark.parametrize("run", [as_index, as_deidentify])
def test_two_people_under_one_id_are_refused_and_others_are_not(tmp_path: Path, run: Run) -> None:
    series(tmp_path / "in", "SHARED", "t1", date="20200102", PatientBirthDate="19700101")
    series(tmp_path / "in", "SHARED", "t1", date="20210102", PatientBirthDate="19700102")
    # a date of birth that is missing in one study is no contradiction, nor is another name
    series(tmp_path / "in", "ALONE", "t1", date="20200102", PatientBirthDate="19700101")
    series(tmp_path / "in", "ALONE", "t1", date="20210102", PatientName="Roe^Jane")
    run(tmp_path / "in", tmp_path / "out")
    rows = files.read_tsv(tmp_path / "out" / "quarantine.tsv")
    assert {row["code"] for row in rows} == {"D-SAME-ID"}
    assert sum(int(row["files"]) for row in rows) == 20
    assert len({row["subject"] for row in rows}) == 1
    assert "1970" not in (tmp_path / "out" / "quarantine.tsv").read_text()


def test_sessions_have_no_date(tmp_path: Path) -> None:
    series(tmp_path / "in", "PAT", date="20210304")
    series(tmp_path / "in", "PAT", date="20190304")
    results = Results(tmp_path / "results")
    index_folder(tmp_path / "in", results, params())
    assert [row["session"] for row in files.read_tsv(results.manifest)] == ["01", "02"]
    for path in results.root.rglob("*"):
        assert not path.is_file() or not re.search(rb"20210304|20190304", path.read_bytes())


def test_index_knows_its_patients() -> None:
    index = Index()
    assert index.name(KEY, "") == ""
    assert index.name(KEY, "A") == index.name(KEY, "A") != index.name(KEY, "B")
