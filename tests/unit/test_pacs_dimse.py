"""Pull and push by DIMSE against an archive in this process that misbehaves on request."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.pacs.archive import look_up
from pipeline.pacs.dimse import Dimse
from pipeline.pacs.pull import pull
from pipeline.pacs.push import push
from pipeline.pacs.request import Request

from . import pacs_cases as cases

ALL = Request(1, {"PatientID": cases.PATIENT})
SERIES = Request(1, {"StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": "1.2.3.1.1"})


@pytest.fixture
def scp() -> Iterator[cases.Scp]:
    with cases.Scp(cases.cohort()).running() as found:
        yield found


def pulled(folder: Path) -> dict[str, Dataset]:
    found = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
    return {str(item.SOPInstanceUID): item for item in found}


def report(folder: Path) -> list[dict[str, str]]:
    return files.read_tsv(folder.with_name(folder.name + "-private") / "report.tsv")


@pytest.mark.parametrize("via", ["get", "move"])
def test_all_of_a_patient_and_nobody_else(
    scp: cases.Scp, via: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "in"
    assert pull(cases.peer(scp, via), [ALL], out) == 0
    found = pulled(out)
    assert len(found) == 20
    for uid, item in found.items():
        assert item == scp.datasets[uid]
    assert {row["received"] for row in report(out)} == {"5"} and len(report(out)) == 4
    told = "".join(capfd.readouterr())
    assert "20 instances" in told
    places = " ".join(str(path) for path in tmp_path.rglob("*"))
    tables = "".join(p.read_text() for p in (tmp_path / "in-private").iterdir())
    for secret in (cases.PATIENT, cases.ACCESSION, "Doe", "1.2.3"):
        assert secret not in told + places + tables


def test_folders_are_for_their_owner_alone(scp: cases.Scp, tmp_path: Path) -> None:
    assert pull(cases.peer(scp), [SERIES], tmp_path / "in") == 0
    for name in ("in", "in-private"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "in-private/pull.key").stat().st_mode) == 0o600


def test_what_is_there_is_not_asked_for_again(scp: cases.Scp, tmp_path: Path) -> None:
    out = tmp_path / "in"
    assert pull(cases.peer(scp), [SERIES], out) == 0
    assert scp.retrievals == [("SERIES", 5)]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    assert pull(cases.peer(scp), [ALL], out) == 0
    assert scp.retrievals == [("SERIES", 5)] * 4  # the three other series
    assert len(pulled(out)) == 20
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # a damaged file and a deleted one are asked for by name, the other three are not
    first, second, *_ = sorted(path for path in before)
    first.write_bytes(first.read_bytes()[:-7])
    second.unlink()
    assert pull(cases.peer(scp), [SERIES], out) == 0
    assert scp.retrievals[-1] == ("IMAGE", 2)
    assert all(item == scp.datasets[uid] for uid, item in pulled(out).items())


def test_new_instances_of_a_known_series_come(scp: cases.Scp, tmp_path: Path) -> None:
    out = tmp_path / "in"
    assert pull(cases.peer(scp), [SERIES], out) == 0
    late = cases.instance(1, 1, 6)
    scp.datasets[str(late.SOPInstanceUID)] = late
    assert pull(cases.peer(scp), [SERIES], out) == 0
    assert scp.retrievals[-1] == ("IMAGE", 1) and len(pulled(out)) == 6


@pytest.mark.parametrize("via", ["get", "move"])
def test_incomplete_set_is_told_and_does_not_stop_others(
    scp: cases.Scp, via: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scp.lost = {"1.2.3.1.1.3"}
    out = tmp_path / "in"
    other = Request(2, {"PatientID": "OTHER-1"})
    assert pull(cases.peer(scp, via, retries=1), [ALL, other], out) == 5
    assert len(pulled(out)) == 22
    bad = [row for row in report(out) if row["code"]]
    assert [(r["row"], r["code"], r["expected"], r["received"]) for r in bad] == [
        ("1", "E-PACS-INCOMPLETE", "5", "4")
    ]
    told = capfd.readouterr().err
    assert "4 of 5 instances" in told and "row 1" in told and "1.2.3" not in told
    # the missing one is asked for by name in the second attempt, and comes in the next call
    assert ("IMAGE", 1) in scp.retrievals
    scp.lost = set()
    assert pull(cases.peer(scp, via), [ALL, other], out) == 0
    assert len(pulled(out)) == 23


def test_only_bad_rows_give_their_own_exit(scp: cases.Scp, tmp_path: Path) -> None:
    scp.lost = {"1.2.3.1.1.3"}
    assert pull(cases.peer(scp, retries=0), [SERIES], tmp_path / "in") == 4


@pytest.mark.parametrize("via", ["get", "move"])
def test_goes_on_after_an_abort(scp: cases.Scp, via: str, tmp_path: Path) -> None:
    scp.break_after = 3
    assert pull(cases.peer(scp, via), [SERIES], tmp_path / "in") == 0
    assert len(pulled(tmp_path / "in")) == 5
    # what came before the abort did not come twice
    assert scp.retrievals == [("SERIES", 5), ("IMAGE", 2)]


def test_without_retries_an_abort_ends_the_call(scp: cases.Scp, tmp_path: Path) -> None:
    scp.break_after = 3
    with pytest.raises(VoxelwayError) as caught:
        pull(cases.peer(scp, retries=0), [SERIES], tmp_path / "in")
    assert caught.value.code == "E-PACS-UNREACHABLE" and caught.value.exit == 4


def test_archive_that_does_not_count(scp: cases.Scp, tmp_path: Path) -> None:
    scp.counted = False
    assert pull(cases.peer(scp), [SERIES], tmp_path / "in") == 0
    assert report(tmp_path / "in")[0]["expected"] == "5"


@pytest.mark.parametrize(("queries", "code"), [(2, 0), (99, 4)])
def test_archive_that_counts_more_than_it_names(
    scp: cases.Scp, queries: int, code: int, tmp_path: Path
) -> None:
    """As one that still receives the series does."""
    scp.unnamed = {"1.2.3.1.1.3": queries}
    # without the fifth, only the other four are named; they are fetched as a whole
    scp.lost = {"1.2.3.1.1.3"} if code else set()
    assert pull(cases.peer(scp, retries=3), [SERIES], tmp_path / "in") == code
    [row] = report(tmp_path / "in")
    assert (row["expected"], row["received"]) == ("5", "4" if code else "5")
    assert row["code"] == ("E-PACS-INCOMPLETE" if code else "")
    assert {level for level, _ in scp.retrievals} == {"SERIES"}


def test_archive_that_passes_over_keys_brings_no_other_patient(
    scp: cases.Scp, tmp_path: Path
) -> None:
    scp.deaf = True
    assert pull(cases.peer(scp), [Request(1, {"PatientID": "OTHER-1"})], tmp_path / "in") == 0
    assert {item.PatientID for item in pulled(tmp_path / "in").values()} == {"OTHER-1"}


def test_instances_that_were_not_asked_for_stay_out(scp: cases.Scp, tmp_path: Path) -> None:
    stray = cases.instance(3, 1, 99, "OTHER-1")
    matching = scp._matching
    scp._matching = lambda keys: [  # type: ignore[method-assign]
        *matching(keys), *([stray] if keys.get("QueryRetrieveLevel") == "SERIES"
                           and "Modality" not in keys else [])
    ]  # fmt: skip
    assert pull(cases.peer(scp), [SERIES], tmp_path / "in") == 0
    assert str(stray.SOPInstanceUID) in scp.sent
    assert len(pulled(tmp_path / "in")) == 5


def test_nothing_found_tells_the_row(
    scp: cases.Scp, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nobody = Request(7, {"PatientID": "NOBODY-9"})
    assert pull(cases.peer(scp), [nobody], tmp_path / "in") == 3
    told = capfd.readouterr().err
    assert "E-PACS-NONE" in told and "row 7" in told and "NOBODY" not in told


def test_an_answer_that_can_not_be_read_is_no_missing_study(
    scp: cases.Scp, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending, success = Dataset(), Dataset()
    pending.Status, success.Status = 0xFF00, 0x0000

    class Garbled:
        def send_c_find(self, *asked: object) -> list[tuple[Dataset, None]]:
            # as pynetdicom hands on an identifier that it can't decode
            return [(pending, None), (success, None)]

    archive = Dimse(cases.peer(scp))
    monkeypatch.setattr(archive, "_querying", Garbled)
    with pytest.raises(VoxelwayError, match=r"E-PACS-QUERY.*can't be read"):
        look_up(archive, ALL)
    archive.close()


def test_rate_is_kept(scp: cases.Scp, tmp_path: Path) -> None:
    started = time.monotonic()
    assert pull(cases.peer(scp, rate=10), [SERIES], tmp_path / "in") == 0
    # five instances are four pauses of 0.1 s
    assert time.monotonic() - started >= 0.4


def test_dry_run_counts_and_fetches_nothing(
    scp: cases.Scp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull(cases.peer(scp), [ALL], tmp_path / "in", dry=True) == 0
    assert "4 series, 20 instances" in capsys.readouterr().out
    assert scp.retrievals == [] and not (tmp_path / "in").exists()


def test_disk_full_ends_the_call(
    scp: cases.Scp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.suffix == ".dcm":
            raise OSError(28, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(VoxelwayError) as caught:
        pull(cases.peer(scp), [SERIES], tmp_path / "in")
    assert caught.value.code == "E-DISK-FULL"
    assert not list((tmp_path / "in").rglob("*.dcm"))


# who may not talk to whom


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"calling": "STRANGER"}, "E-PACS-AE"),
        ({"ae_title": "OTHER"}, "E-PACS-AE"),
        ({"port": 1}, "E-PACS-UNREACHABLE"),
        ({"host": "no-such-host.invalid"}, "E-PACS-UNREACHABLE"),
    ],
)
def test_no_association(
    scp: cases.Scp, change: dict[str, object], code: str, tmp_path: Path
) -> None:
    with pytest.raises(VoxelwayError) as caught:
        pull(replace(cases.peer(scp, retries=1), **change), [ALL], tmp_path / "in")
    assert caught.value.code == code
    assert cases.PATIENT not in str(caught.value)


def test_unknown_move_destination(scp: cases.Scp, tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError) as caught:
        pull(cases.peer(scp, "move", move_ae_title="NOWHERE"), [ALL], tmp_path / "in")
    assert caught.value.code == "E-PACS-AE" and "NOWHERE" in str(caught.value)


# push


def written(folder: Path, items: list[Dataset]) -> list[Path]:
    folder.mkdir()
    paths = []
    for item in items:
        paths.append(folder / f"{item.SOPInstanceUID}.dcm")
        item.save_as(paths[-1], enforce_file_format=True)
    return paths


def test_push_and_its_report(tmp_path: Path) -> None:
    items = cases.cohort()
    paths = written(tmp_path / "files", items)
    (tmp_path / "files" / "notes.txt").write_text("no DICOM")
    table = tmp_path / "report.tsv"
    with cases.Scp([]).running() as scp:
        scp.refused = {str(items[0].SOPInstanceUID): 0xA900}
        assert push(cases.peer(scp), [tmp_path / "files"], table) == 5
        assert len(scp.datasets) == 22
        for item in items[1:]:
            assert scp.datasets[str(item.SOPInstanceUID)] == item
        rows = {Path(row["file"]).name: row for row in files.read_tsv(table)}
        assert rows[paths[0].name]["code"] == "E-PACS-STORE"
        assert rows["notes.txt"]["code"] == "D-NOT-DICOM"
        assert rows[paths[1].name]["status"] == "stored"
        assert stat.S_IMODE(table.stat().st_mode) == 0o600
        # the second call sends only what is not there
        scp.refused, scp.retrievals = {}, []
        assert push(cases.peer(scp), paths, table) == 0
        assert scp.retrievals == [("STORE", 1)] and len(scp.datasets) == 23


def test_push_goes_on_after_an_abort(tmp_path: Path) -> None:
    paths = written(tmp_path / "files", cases.cohort())
    with cases.Scp([]).running() as scp:
        scp.break_after = 4
        assert push(cases.peer(scp), paths) == 0
        assert len(scp.datasets) == len(paths) == len(scp.retrievals)


def test_push_waits_for_an_archive_out_of_resources(tmp_path: Path) -> None:
    [path] = written(tmp_path / "files", [cases.instance(1, 1, 1)])
    with cases.Scp([]).running() as scp:
        scp.refused = {"1.2.3.1.1.1": 0xA700}
        with pytest.raises(VoxelwayError) as caught:
            push(cases.peer(scp, retries=2), [path])
        assert caught.value.code == "E-PACS-UNREACHABLE" and len(scp.retrievals) == 3


def test_push_of_an_unknown_kind_is_told(tmp_path: Path) -> None:
    item = cases.instance(1, 1, 1)
    item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID = "1.2.3.4.5.6.7"
    paths = written(tmp_path / "files", [item])
    table = tmp_path / "report.tsv"
    with cases.Scp([]).running() as scp:
        with pytest.raises(VoxelwayError):
            push(cases.peer(scp, retries=0), paths, table)
        paths += written(tmp_path / "more", [cases.instance(1, 1, 2)])
        assert push(cases.peer(scp), paths, table) == 5
    assert [row["code"] for row in files.read_tsv(table)].count("E-PACS-STORE") == 1


def test_push_without_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM")
    with pytest.raises(VoxelwayError) as caught:
        push(cases.peer(cases.Scp([])), [tmp_path])
    assert caught.value.code == "E-DCM-NONE"
