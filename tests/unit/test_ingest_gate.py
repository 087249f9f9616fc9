"""What the gate refuses, each by its code, and what it must let pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.ingest import gate
from pipeline.ingest.headers import Header, Reject, read_header
from pipeline.ingest.index import index_folder
from pipeline.ingest.volume import Series, Volume, volumes
from pipeline.paths import Results

from .ingest_dicom import ROWS, SHARED, SLICES, STEP, change, params, series, uid

Break = Callable[[list[Path]], None]


def read(paths: list[Path]) -> list[Header]:
    found = [read_header(str(path)) for path in paths]
    assert all(isinstance(header, Header) for header in found)
    return [header for header in found if isinstance(header, Header)]


def volume(paths: list[Path]) -> Volume:
    (only,) = volumes(Series("s1", tuple(read(paths))))
    return only


def codes(paths: list[Path]) -> set[str]:
    return {finding.code for finding in gate.check(volume(paths), params())}


def remove(*numbers: int) -> Break:
    return lambda paths: [paths[number].unlink() for number in numbers] and None


def every(**values: object) -> Break:
    return lambda paths: [change(path, **values) for path in paths] and None


def one(**values: object) -> Break:
    return lambda paths: change(paths[4], **values)


def cut(paths: list[Path]) -> None:
    whole = paths[4].read_bytes()
    paths[4].write_bytes(whole[: len(whole) - ROWS])


def twice(paths: list[Path]) -> None:
    for path in paths:
        copy = path.with_name("copy_" + path.name)
        shutil.copy(path, copy)
        change(copy, SOPInstanceUID=uid("again", path.name))


def jitter(paths: list[Path]) -> None:
    for number, path in enumerate(paths):
        shift = 0.3 * STEP * (number % 2)
        change(path, ImagePositionPatient=[-5.5, -6.5, -9.0 + STEP * number + shift])


def promise(paths: list[Path]) -> None:
    for path in paths:
        change(path, ImagesInAcquisition=SLICES)
    paths[-1].unlink()


def stray(paths: list[Path]) -> None:
    change(paths[4], ImagePositionPatient=[-2.5, -6.5, -9.0 + STEP * 4])


BROKEN: list[tuple[str, Break, str, str]] = [
    ("middle slices", remove(4, 5), "D-SLICES-MISSING", "2 slices are missing in 1 gap"),
    ("first slices", remove(0, 1, 2), "D-SLICES-MISSING", "first 3 files seem to be missing"),
    ("last slice", promise, "D-SLICES-MISSING", "1 of the 10 slices that the header promises"),
    ("all but a few", remove(*range(4, 10)), "D-SLICES-FEW", "4 slices, at least 8"),
    ("sent twice under new ids", twice, "D-SLICES-DUPLICATE", "10 of 20 slices lie where"),
    (
        "a slice twice",
        one(ImagePositionPatient=[-5.5, -6.5, -9.0], SOPInstanceUID="1.2.3"),
        "D-SLICES-DUPLICATE",
        "1 of 10 slices lie where another lies",
    ),
    ("variable spacing", jitter, "D-SPACING-VARIABLE", "from 1.400 to 2.600 mm"),
    ("one slice aside", stray, "D-SPACING-VARIABLE", "beside the line"),
    ("no spacing", every(PixelSpacing=None), "D-SPACING-NONE", "10 of 10 slices"),
    ("spacing 0", one(PixelSpacing=[0, 0]), "D-SPACING-NONE", "1 of 10 slices"),
    ("no position", one(ImagePositionPatient=None), "D-POSITION-NONE", "1 of 10 slices lack"),
    ("no orientation", every(ImageOrientationPatient=None), "D-POSITION-NONE", "10 of 10"),
    (
        "skew axes",
        every(ImageOrientationPatient=[1, 0, 0, 0.5, 0.87, 0]),
        "D-POSITION-NONE",
        "not perpendicular",
    ),
    (
        "another orientation",
        one(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        "D-MIXED-ORIENTATION",
        "1 of 10 slices",
    ),
    ("another pixel size", one(PixelSpacing=[1.5, 1.0]), "D-MIXED-PIXELS", "1.0000 to 1.5000"),
    ("two patients", one(PatientID="PAT-2"), "D-MIXED-PATIENT", "2 patients and 1 studies"),
    ("two studies", one(StudyInstanceUID="1.2.9"), "D-MIXED-PATIENT", "1 patients and 2 studies"),
    ("two frames", one(FrameOfReferenceUID="1.2.9"), "D-MIXED-FRAME", "2 frames of reference"),
    ("no patient", every(PatientID=""), "D-NO-PATIENT", "PatientID is empty"),
    ("burned in", every(BurnedInAnnotation="YES"), "D-BURNED-IN", "BurnedInAnnotation is YES"),
    ("truncated", cut, "D-TRUNCATED", f"1 of 10 files end before their pixels do, {ROWS} bytes"),
]


@pytest.mark.parametrize(("name", "damage", "code", "words"), BROKEN, ids=[b[0] for b in BROKEN])
def test_broken_series_is_refused_with_its_code(
    tmp_path: Path, name: str, damage: Break, code: str, words: str
) -> None:
    damage(series(tmp_path / "dicom"))
    results = Results(tmp_path / "results")
    with pytest.raises(VoxelwayError) as caught:
        index_folder(tmp_path / "dicom", results, params())
    assert caught.value.code == "E-DCM-NONE" and "quarantine.tsv" in caught.value.message
    rows = {row["code"]: row for row in files.read_tsv(results.quarantine)}
    assert code in rows, rows
    assert words in rows[code]["message"]


def test_sound_series_passes(tmp_path: Path) -> None:
    assert codes(series(tmp_path)) == set()


def test_every_second_slice_missing_shows_in_the_declared_distance(tmp_path: Path) -> None:
    paths = series(tmp_path, slices=20, SpacingBetweenSlices=STEP)
    for number, path in enumerate(paths[::2]):
        change(path, InstanceNumber=number + 1)
    assert codes(paths[::2]) == {"D-SLICES-MISSING"}


def test_instance_numbers_may_go_on_from_an_earlier_series(tmp_path: Path) -> None:
    paths = series(tmp_path, edit=lambda ds, n: setattr(ds, "InstanceNumber", SLICES + n + 1))
    assert codes(paths) == set()


def test_gap_between_slices_is_no_missing_slice(tmp_path: Path) -> None:
    def thin(ds: object, n: int) -> None:
        ds.SliceThickness, ds.SpacingBetweenSlices = 1.0, 1.0  # type: ignore[attr-defined]

    # 2 mm steps, but the header gives 1 mm: what is declared contradicts, so it is refused
    assert codes(series(tmp_path, edit=thin)) == {"D-SLICES-MISSING"}
    # the gap alone is declared, as some do: less than the thickness, so it is no distance
    paths = series(tmp_path / "b", SpacingBetweenSlices=0.2, SliceThickness=1.8)
    assert codes(paths) == set()


@given(st.permutations(range(SLICES)), st.sets(st.integers(1, SLICES - 2), max_size=2))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_order_of_files_does_not_matter_and_any_inner_gap_is_seen(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], gone: set[int]
) -> None:
    paths = _ten(tmp_path_factory)
    kept = [paths[number] for number in order if number not in gone]
    found = volume(kept)
    stack = found.stack
    assert stack is not None and np.all(np.diff(stack.distances) > 0)
    expected = {"D-SLICES-MISSING"} if gone else set()
    assert {finding.code for finding in gate.check(found, params())} == expected


_WRITTEN: list[list[Path]] = []


def _ten(factory: pytest.TempPathFactory) -> list[Path]:
    if not _WRITTEN:
        _WRITTEN.append(series(factory.mktemp("ten")))
    return _WRITTEN[0]


def test_echoes_are_told_apart_and_a_short_one_is_named(tmp_path: Path) -> None:
    both = series(tmp_path, name="e1") + series(tmp_path, name="e2", EchoTime=90)[:-1]
    for path in both:
        change(path, SeriesInstanceUID=uid("dual"))
    found = volumes(Series("s", tuple(read(both))))
    assert [v.echo for v in found] == [3.0, 90.0]
    assert [len(v.planes) for v in found] == [10, 9]
    short = gate.same_length(found)
    assert list(short) == [1] and "90 ms has 1 slices fewer" in short[1].message


@pytest.mark.parametrize("kept", [0, 3, 100, 140, 400, 900])
def test_cut_file_is_never_whole(tmp_path: Path, kept: int) -> None:
    path = series(tmp_path, slices=1)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    found = read_header(str(path))
    assert isinstance(found, Reject) or found.missing > 0


def test_files_that_are_no_dicom(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("Dear Jane")
    found = read_header(str(text))
    assert isinstance(found, Reject) and found.code == "D-NOT-DICOM"
    named = tmp_path / "image.dcm"
    named.write_bytes(b"\1" * 5000)
    found = read_header(str(named))
    assert isinstance(found, Reject) and found.code == "D-UNREADABLE"
    sizeless = series(tmp_path, slices=1, Rows=None)[0]
    found = read_header(str(sizeless))
    assert isinstance(found, Reject) and found.code == "D-UNREADABLE"
    listing = series(tmp_path, name="dir", slices=1, SOPClassUID="1.2.840.10008.1.3.10")[0]
    found = read_header(str(listing))
    assert isinstance(found, Reject) and "DICOMDIR" in found.message
    found = read_header(str(tmp_path / "gone.dcm"))
    assert isinstance(found, Reject) and found.code == "D-UNREADABLE"


def test_damaged_bytes_never_raise(tmp_path: Path) -> None:
    path = series(tmp_path, slices=1)[0]
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for n in range(150):
        damaged = bytearray(whole[: generator.integers(1, len(whole))] if n % 3 == 0 else whole)
        for place in generator.integers(0, min(len(damaged), 1200), 8):
            damaged[place] = generator.integers(0, 256)
        path.write_bytes(bytes(damaged))
        assert isinstance(read_header(str(path)), Header | Reject)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="development data are absent")
def test_enhanced_multiframe_is_judged_by_its_frames(tmp_path: Path) -> None:
    import pydicom

    source = sorted((SHARED / "enhanced_multiframe_t1" / "dicom").glob("*.dcm"))[0]
    assert codes([source]) == set()
    ds = pydicom.dcmread(source)
    keep = [n for n in range(96) if n != 40]
    ds.PerFrameFunctionalGroupsSequence = [ds.PerFrameFunctionalGroupsSequence[n] for n in keep]
    frame = 128 * 128 * 2
    ds.PixelData = b"".join(ds.PixelData[n * frame : (n + 1) * frame] for n in keep)
    ds.NumberOfFrames = 95
    ds.save_as(tmp_path / "gap.dcm")
    assert codes([tmp_path / "gap.dcm"]) == {"D-SLICES-MISSING"}


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="development data are absent")
def test_compressed_pixels_are_counted_without_decoding(tmp_path: Path) -> None:
    for source in sorted((SHARED / "transfer_syntaxes" / "dicom").glob("*.dcm")):
        found = read_header(str(source))
        assert isinstance(found, Header) and found.missing == 0
        short = tmp_path / source.name
        short.write_bytes(source.read_bytes()[:-900])
        found = read_header(str(short))
        assert isinstance(found, Header) and found.missing > 0, source.name
