"""A string planted wherever a file can hold one is found nowhere in what may leave."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence

from pipeline import cli, files
from pipeline.deidentify.dataset import Rules, clean
from pipeline.export.identity import Pseudonym

from .ingest_dicom import series
from .planted import DATE, MARK, TIME, UID_ROOT, Planter, leaks, traces

KEY = bytes(range(32))
RULES = Rules(Pseudonym("pabc", KEY))


@cache
def everywhere() -> Dataset:
    return Planter().everywhere()


def plant(ds: FileDataset, number: int, chosen: Dataset | None = None) -> None:
    """Everything that a scanner, an archive or a person may have put into a file."""
    own = {k: ds[k].value for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    ds.update(chosen or everywhere())
    for n, (keyword, uid) in enumerate(own.items()):
        # different for each series and object, as they were
        setattr(ds, keyword, f"{UID_ROOT}.{n}.{int(uid.split('.')[-1]) % 10**20}")
    ds.PatientID = f"{MARK}-ID"
    ds.preamble = f"{MARK}PREAMBLE".encode().ljust(128, b"\0")
    ds.file_meta.SourceApplicationEntityTitle = f"{MARK}AE"
    ds.file_meta.ImplementationVersionName = f"{MARK}IMPL"
    ds.file_meta.PrivateInformationCreatorUID = f"{UID_ROOT}.9"
    ds.file_meta.PrivateInformation = f"{MARK}PRIV".encode()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.DataSetTrailingPadding = f"{MARK}PAD".encode()
    ds.PixelData = ds.PixelData + f"{MARK}TAIL ".encode()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital")
    key = folder / "key.txt"
    key.write_text(KEY.hex())
    place = folder / "dicom" / f"{MARK}^Folder"
    series(place, patient="P", name=f"{MARK}name", edit=plant, slices=2)
    (place / f"{MARK}.txt").write_text(MARK)
    (place / f"{MARK}.dcm").write_bytes(MARK.encode() * 100)
    return folder


@pytest.mark.parametrize(
    "options",
    ['{}', '{"dates": "shifted", "descriptors": true}'],
    ids=["basic", "longitudinal and descriptors"],
)  # fmt: skip
def test_nothing_planted_leaves(
    source: Path, tmp_path: Path, options: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    out = tmp_path / "out"
    command = ["deidentify", str(source / "dicom"), str(out), "--key", str(source / "key.txt")]
    assert cli.main([*command, "--params", options]) == 5
    assert len(list(out.rglob("*.dcm"))) == 2
    if "shifted" in options:
        # times of day are what this option keeps; the dates beside them have moved
        found = [leak for leak in leaks(out) if leak.split(": ")[1] != f"['{TIME} in utf-8']"]
    else:
        found = leaks(out)
    said = capfd.readouterr()
    assert not found
    assert not leaks(temporary) and not traces((said.out + said.err).encode())


def test_the_search_finds_what_was_planted(source: Path) -> None:
    """The test above must be able to fail."""
    found = leaks(source / "dicom")
    assert any(MARK in leak for leak in found)
    assert any(DATE in leak for leak in found) and any(UID_ROOT in leak for leak in found)
    original = next((source / "dicom").rglob("*_000.dcm")).read_bytes()
    assert original.count(MARK.encode()) > 2000


TEXT_TAGS = sorted(t for t, e in DicomDictionary.items() if e[0] in ("LO", "SH", "LT", "PN", "CS"))
SEQUENCE_TAGS = sorted(t for t, e in DicomDictionary.items() if e[0] == "SQ")
token = st.integers(0, 10**6).map(lambda n: f"{MARK}{n}")


def dataset_of(texts: dict[int, str], private: str, items: dict[int, list[Any]]) -> Dataset:
    ds = Dataset()
    for tag, text in texts.items():
        ds.add_new(tag, DicomDictionary[tag][0], text)
    ds.private_block(0x0009, private, create=True).add_new(1, "UN", private.encode())
    for tag, inner in items.items():
        ds.add_new(tag, "SQ", Sequence(inner))
    return ds


nested = st.recursive(
    st.builds(dataset_of, st.dictionaries(st.sampled_from(TEXT_TAGS), token, max_size=4), token,
              st.just({})),
    lambda below: st.builds(
        dataset_of, st.dictionaries(st.sampled_from(TEXT_TAGS), token, max_size=4), token,
        st.dictionaries(st.sampled_from(SEQUENCE_TAGS), st.lists(below, max_size=2), max_size=3)),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nested)
def test_nothing_planted_stays_at_any_depth(dataset: Dataset) -> None:
    clean(dataset, RULES)
    assert MARK not in dataset.to_json() and MARK not in str(dataset)
    for element in dataset.iterall():
        assert not element.tag.is_private


@cache
def readable() -> Dataset:
    """All texts, and a nested one; of the rest dcm2niix makes no image, or several."""
    found = Dataset({e.tag: e for e in everywhere() if e.VR not in ("SQ", "UN", "OB", "OW")})
    found.RequestAttributesSequence = [Planter().light()]
    return found


def scanner(ds: FileDataset, number: int) -> None:
    """As :func:`plant`, but the protocol still finds the series."""
    kept = {k: getattr(ds, k) for k in ("EchoTime", "RepetitionTime", "InversionTime")}
    plant(ds, number, readable())
    for keyword, value in kept.items():
        setattr(ds, keyword, value)
    ds.SeriesDescription = f"t1 {MARK}"
    ds.ScanningSequence = ["GR", MARK]
    ds.StudyDate = DATE
    # what marks the pixels or the class must not refuse the series here
    for keyword in ("ImageComments", "BodyPartExamined", "ProtocolName"):
        setattr(ds, keyword, MARK)


def test_nothing_planted_is_in_the_results(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    place = tmp_path / "dicom" / f"{MARK}^Folder"
    series(place, patient=f"{MARK}1", name=f"{MARK}a", edit=scanner, slices=8)
    broken = series(place, patient=f"{MARK}1", name=f"{MARK}b", edit=scanner, slices=8)
    broken[4].unlink()
    (place / f"{MARK}.dcm").write_bytes(MARK.encode() * 100)
    results = tmp_path / "results"
    assert cli.main(["index", str(tmp_path / "dicom"), str(results)]) == 0
    units = [row["subject"] + "_ses-" + row["session"]
             for row in files.read_tsv(results / "manifest.tsv")]  # fmt: skip
    assert len(units) == 1
    assert cli.main(["ingest", "--results", str(results), "--unit", f"sub-{units[0]}"]) == 0
    assert len(list((results / "rawdata").rglob("*_T1w.nii.gz"))) == 1
    assert cli.main(["report", str(results)]) == 0
    said = capfd.readouterr()
    assert not leaks(results) and not leaks(temporary)
    assert not traces((said.out + said.err).encode())
    assert (results / "qc" / "index.html").is_file()
