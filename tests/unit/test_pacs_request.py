"""Lists, queries, the configuration and the command line of pull and push."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import cli
from pipeline.errors import VoxelwayError
from pipeline.pacs import pace
from pipeline.pacs.inbox import Inbox
from pipeline.pacs.peer import read_peer
from pipeline.pacs.request import Request, of_list, of_query

from . import pacs_cases as cases


def listed(tmp_path: Path, text: str) -> list[Request]:
    path = tmp_path / "list.tsv"
    path.write_text(text, encoding="utf-8")
    return of_list(path)


def test_rows_of_a_list(tmp_path: Path) -> None:
    found = listed(
        tmp_path,
        "patient\tAccessionNumber\tdate\tremark\nP 1\t\t20240101-\tx\n\t\t\tnothing\n\tA1\t\t\n",
    )
    assert found == [
        Request(1, {"PatientID": "P 1", "StudyDate": "20240101-"}),
        Request(3, {"AccessionNumber": "A1"}),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "heading"),
        ("name\nDoe\n", "heading"),
        ("patient\n\n", "no row"),
        ("patient\nSECRET*\n", "row 1"),
        ("patient\nok\nSECRET\\OTHER\n", "row 2"),
        ("patient\tdate\nSECRET\t2024\n", "row 1"),
        ("series\nSECRET\n", "row 1"),
    ],
)
def test_bad_lists_tell_the_row_and_not_the_value(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError) as caught:
        listed(tmp_path, text)
    assert caught.value.code == "E-PACS-LIST"
    assert told in str(caught.value) and "SECRET" not in str(caught.value)


def test_query_words() -> None:
    found = of_query(["date=20240101-20240131", "modality=MR", "description=*t1*"])
    assert found.of_study == {"StudyDate": "20240101-20240131", "ModalitiesInStudy": "MR"}
    assert found.takes({"StudyDate": "20240131", "SeriesDescription": "Sag T1 mprage"})
    assert not found.takes({"StudyDate": "20240201"})
    assert not found.takes({"Modality": "CT"})
    assert not found.takes({"SeriesDescription": "t2 tse"})


@pytest.mark.parametrize(
    "words", [["modality=MR"], ["patient=1", "date=20240101"], ["date"], ["size=3"], ["date=*"]]
)
def test_bad_queries(words: list[str]) -> None:
    with pytest.raises(VoxelwayError) as caught:
        of_query(words)
    assert caught.value.code == "E-USAGE"


@given(st.integers(10000101, 99991231), st.integers(10000101, 99991231), st.integers(0, 99999999))
def test_ranges_of_dates(low: int, high: int, day: int) -> None:
    found = {"StudyDate": f"{day:08}"}
    assert Request(1, {"StudyDate": f"{low}-{high}"}).takes(found) == (low <= day <= high)
    assert Request(1, {"StudyDate": f"{low}-"}).takes(found) == (low <= day)
    assert Request(1, {"StudyDate": f"-{high}"}).takes(found) == (day <= high)
    assert Request(1, {"StudyDate": str(low)}).takes(found) == (low == day)


def test_brackets_in_descriptions_are_plain() -> None:
    request = Request(0, {"SeriesDescription": "t1 [sag] ?d*"})
    assert request.takes({"SeriesDescription": "T1 [SAG] 3D mprage"})
    assert not request.takes({"SeriesDescription": "T1 s 3D"})


# configuration

ENTRY: dict[str, Any] = {"name": "a", "host": "h", "ae_title": "A"}


def test_peer_has_the_defaults_of_the_schema() -> None:
    peer = read_peer({"peers": [ENTRY]})
    assert (peer.port, peer.via, peer.calling, peer.destination) == (
        104, "get", "VOXELWAY", "VOXELWAY"
    )  # fmt: skip
    assert (peer.rate, peer.timeout, peer.retries, peer.check_hostname) == (0, 120, 4, True)


@pytest.mark.parametrize(
    ("section", "name", "code"),
    [
        ({}, None, "E-PACS-PEER"),
        ({"peers": [ENTRY]}, "b", "E-PACS-PEER"),
        ({"peers": [ENTRY, {**ENTRY, "name": "b"}]}, None, "E-PACS-PEER"),
        ({"peers": [ENTRY, ENTRY]}, "a", "E-CONFIG-VALUE"),
        ({"peers": [{**ENTRY, "prot": 1}]}, None, "E-CONFIG-KEY"),
        ({"peers": [{**ENTRY, "port": 0}]}, None, "E-CONFIG-VALUE"),
        ({"ae_title": "A" * 17, "peers": [ENTRY]}, None, "E-CONFIG-VALUE"),
        ({"peers": [{**ENTRY, "via": "web"}]}, None, "E-PACS-PEER"),
        ({"peers": [{"name": "a", "url": "https://h"}]}, None, "E-PACS-PEER"),
        ({"peers": [{**ENTRY, "password": "x"}]}, None, "E-CONFIG-KEY"),
    ],
)
def test_bad_sections(section: dict[str, Any], name: str | None, code: str) -> None:
    with pytest.raises(VoxelwayError) as caught:
        read_peer(section, name)
    assert caught.value.code == code


# patience and rate


def test_pauses_double_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(pace.time, "sleep", pauses.append)
    error = VoxelwayError("E-PACS-UNREACHABLE", "away")
    patience = pace.Patience(8, 2.0)
    with pytest.raises(VoxelwayError):
        while True:
            patience.spend(error)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    patience.gained()
    patience.spend(error)
    assert pauses[-1] == 2
    with pytest.raises(VoxelwayError):
        patience.spend(VoxelwayError("E-PACS-AUTH", "no"))
    assert len(pauses) == 9


# the private folder


def test_cut_ledger_line_does_not_count(tmp_path: Path) -> None:
    from pipeline.pacs.archive import SeriesRef

    ref = SeriesRef("1.2.3.1", "1.2.3.1.1", None)
    inbox = Inbox(tmp_path / "in")
    items = [cases.instance(1, 1, n) for n in (1, 2)]
    assert [inbox.put(ref, cases.raw(item)) for item in items] == ["1.2.3.1.1.1", "1.2.3.1.1.2"]
    ledger = tmp_path / "in-private" / "pulled.tsv"
    ledger.write_text(ledger.read_text()[:-2])
    again = Inbox(tmp_path / "in")
    assert again.has(ref, "1.2.3.1.1.1") and not again.has(ref, "1.2.3.1.1.2")


@given(st.binary(max_size=300))
def test_rubbish_is_not_an_instance(content: bytes) -> None:
    from pipeline.pacs.inbox import _uids

    assert _uids(content) == ("", "", "")


# the command line


def configured(tmp_path: Path, scp: cases.Scp) -> Path:
    entry = {**ENTRY, "host": "127.0.0.1", "port": scp.port, "ae_title": "ARCHIVE"}
    path = tmp_path / "pacs.yaml"
    path.write_text(yaml.safe_dump({"backoff": 0, "peers": [entry]}))
    return path


def test_pull_and_push_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "list.tsv", tmp_path / "in"
    table.write_text("accession\nACC-2\n")
    with cases.Scp(cases.cohort()).running() as scp:
        where = ["--pacs", str(configured(tmp_path, scp))]
        assert cli.main(["pull", str(out), *where, "--list", str(table)]) == 0
        assert len(list(out.rglob("*.dcm"))) == 3
        query = ["--query", "date=20240101-20240102", "description=*2", "--dry-run"]
        assert cli.main(["pull", str(tmp_path / "b"), *where, *query]) == 0
        assert "2 series, 10 instances" in capsys.readouterr().out
        scp.datasets.clear()
        assert cli.main(["push", *where, "--via", "store", str(out)]) == 0
        assert len(scp.datasets) == 3


def test_configuration_file_has_a_section(tmp_path: Path) -> None:
    with cases.Scp([]).running() as scp:
        inner = yaml.safe_load(configured(tmp_path, scp).read_text())
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({"dicom": "a", "results": "b", "pacs": inner}))
        query = ["--query", "date=20240101"]
        assert cli.main(["pull", str(tmp_path / "in"), "--config", str(path), *query]) == 3


@pytest.mark.parametrize(
    "more", [[], ["--list", "none.tsv"], ["--query", "date=20240101", "--rate", "-1"]]
)
def test_wrong_command_lines(more: list[str], tmp_path: Path) -> None:
    where = ["--pacs", str(configured(tmp_path, cases.Scp([])))]
    assert cli.main(["pull", str(tmp_path / "in"), *where, *more]) == 2
