"""``voxelway index --explain``: each series with its fate, no text of a person, no file read."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from pipeline import cli
from pipeline.errors import VoxelwayError
from pipeline.ingest import archives, explain, headers, reading
from pipeline.ingest.index import index_folder
from pipeline.ingest.manifest import read_manifest
from pipeline.paths import Results

from .ingest_dicom import params, series

SECRET = "MUELLER"


def sagittal(dataset: FileDataset, number: int) -> None:
    dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    dataset.ImagePositionPatient = [2.0 * number, 0, 0]


def cohort(folder: Path) -> Results:
    """One patient with six series, and another patient."""
    dicom = folder / "dicom"
    series(dicom / "a", PatientComments=SECRET, SeriesNumber=1)
    shutil.copytree(dicom / "a", dicom / "b")
    name = f"t2_tse {SECRET}"
    series(dicom, name="t2", SeriesDescription=name, EchoTime=95, SeriesNumber=2)
    series(dicom, name="few", SeriesDescription="flair", slices=5, EchoTime=90, SeriesNumber=3)
    series(dicom, name="loc", SeriesDescription=f"localizer {SECRET}", SeriesNumber=4)
    series(dicom, name="odd", SeriesDescription=SECRET, Modality="CT", SeriesNumber=5)
    series(dicom, name="sr", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality=SECRET,
           SeriesNumber=6, slices=1)  # fmt: skip
    series(dicom, "OTHER", edit=sagittal, ContrastBolusAgent=SECRET)
    results = Results(folder / "results")
    index_folder(dicom, results, params())
    return results


def subjects(results: Results) -> dict[str, str]:
    """Pseudonyms by the number of their images."""
    rows = read_manifest(results.manifest)
    count = {row.subject: sum(r.subject == row.subject for r in rows) for row in rows}
    return {"first" if number == 2 else "other": name for name, number in count.items()}


def lines(text: str) -> list[tuple[str, str]]:
    told = text.splitlines()
    return list(zip(told[::2], told[1::2], strict=True))


def test_each_series_is_told_with_its_fate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = cohort(tmp_path)
    capsys.readouterr()

    def never(*_: object) -> None:
        raise AssertionError("a DICOM file was read")

    for module, name in ((reading, "read_file"), (headers, "_read"), (archives, "read_archive")):
        monkeypatch.setattr(module, name, never)
    subject = "sub-" + subjects(results)["first"]
    code = cli.main(["index", str(tmp_path / "dicom"), str(results.root), "--explain", subject])
    out = capsys.readouterr().out
    assert code == 0 and SECRET not in out and "PAT-1" not in out and str(tmp_path) not in out
    found = lines(out)
    fates = [fate.strip().split(":")[0] for _, fate in found]
    assert fates == [
        "left out, D-COPY",
        "taken as T1w of session 01, by rule 4 of the protocol (description, te)",
        "taken as T2w of session 01, by rule 3 of the protocol (description, without, te)",
        "refused, D-SLICES-FEW",
        "left out, D-LOCALIZER",
        "left out, D-CONTRAST",
        "left out, D-NOT-IMAGE",
    ]
    label, _, facts = found[1][0].partition("  ")
    assert label.startswith("s") and label.isalnum() and len(label) == 11
    assert facts == (
        "MR, Siemens, GR+IR, 3D, TR 2000 TE 3 TI 900 ms, axial, 12x14x10, 1.00x1.00x2.00 mm, "
        "2 mm thick, no agent, 10 files"
    )
    assert found[5][0].partition("  ")[2].startswith("CT, ")
    assert found[6][0].partition("  ")[2] == "other, Siemens, GR+IR, 3D, 1 file"


def test_agent_and_orientation_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = cohort(tmp_path)
    capsys.readouterr()
    explain.explain(subjects(results)["other"], tmp_path / "dicom", results, params())
    ((facts, fate),) = lines(capsys.readouterr().out)
    assert "sagittal" in facts and "contrast agent given" in facts
    assert "taken as T1w" in fate and "D-CONTRAST-AGENT" in fate


def test_changed_protocol_is_tried_without_an_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = cohort(tmp_path)
    before = results.manifest.read_bytes()
    capsys.readouterr()
    rules = [{"suffix": "PDw", "modality": "CT"}]
    changed = params(protocol=rules)
    explain.explain(subjects(results)["first"], tmp_path / "dicom", results, changed)
    taken = [fate for _, fate in lines(capsys.readouterr().out) if "taken" in fate]
    assert len(taken) == 1 and "taken as PDw of session 01, by rule 1" in taken[0]
    assert results.manifest.read_bytes() == before


def test_descriptions_are_shown_on_a_terminal_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = cohort(tmp_path)
    subject = subjects(results)["first"]
    with pytest.raises(VoxelwayError) as caught:
        explain.explain(subject, tmp_path / "dicom", results, params(), private=True)
    assert caught.value.code == "E-USAGE"
    capsys.readouterr()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    explain.explain(subject, tmp_path / "dicom", results, params(), private=True)
    assert f"described as 't2_tse {SECRET}'" in capsys.readouterr().out


def test_what_is_not_in_the_index_is_a_wrong_command(tmp_path: Path) -> None:
    results = cohort(tmp_path)
    for subject, dicom, words in (
        ("nobody", tmp_path / "dicom", "No subject nobody"),
        (subjects(results)["first"], tmp_path, "not indexed"),
    ):
        with pytest.raises(VoxelwayError, match=words) as caught:
            explain.explain(subject, dicom, results, params())
        assert caught.value.code == "E-USAGE"
