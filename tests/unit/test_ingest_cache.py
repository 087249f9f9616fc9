"""The cache of headers: only what is new or changed is read, and the answers are the same."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import VoxelwayError
from pipeline.ingest import cache, packed, reading
from pipeline.ingest.headers import Common, Frame, Header, Reject, read_header
from pipeline.ingest.index import index_folder
from pipeline.paths import Results

from .ingest_dicom import change, params, series

TABLES = ("manifest.tsv", "quarantine.tsv", "participants.tsv")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read, in this process."""
    names: list[str] = []
    original = reading.read_file

    def noted(path: str) -> list[Header | Reject]:
        names.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(reading, "read_file", noted)
    return names


def index(folder: Path) -> Results:
    results = Results(folder / "results")
    index_folder(folder / "dicom", results, params())
    return results


def told(results: Results) -> dict[str, str]:
    """All that an index writes."""
    paths = [results.root / name for name in TABLES]
    paths += [*results.private.glob("units/*"), results.private / "quarantine.json"]
    return {path.name: path.read_text() for path in paths}


def test_second_index_reads_only_what_is_new_or_changed(tmp_path: Path, read: list[str]) -> None:
    paths = series(tmp_path / "dicom")
    index(tmp_path)
    assert len(read) == 10
    read.clear()
    index(tmp_path)
    assert read == []
    change(paths[3], EchoTime=4)
    new = series(tmp_path / "dicom" / "new", "PAT-2", slices=8)
    index(tmp_path)
    assert sorted(read) == sorted([paths[3].name, *(path.name for path in new)])


def test_replaced_file_of_same_size_and_age_is_read(tmp_path: Path, read: list[str]) -> None:
    paths = series(tmp_path / "dicom")
    results = index(tmp_path)
    before = (results.private / "units").iterdir().__next__().name
    read.clear()
    for path in paths:
        age = path.stat().st_mtime_ns
        content = path.read_bytes()
        assert content.count(b"PAT-1 ") == 1
        path.write_bytes(content.replace(b"PAT-1 ", b"PAT-7 "))
        os.utime(path, ns=(age, age))
    index(tmp_path)
    assert len(read) == 10
    assert before not in {path.name for path in (results.private / "units").iterdir()}


def test_what_the_system_could_not_read_is_tried_again(tmp_path: Path, read: list[str]) -> None:
    series(tmp_path / "dicom")
    target = tmp_path / "later.dcm"
    (tmp_path / "dicom" / "link.dcm").symlink_to(target)
    results = index(tmp_path)
    assert "D-UNREADABLE" in results.quarantine.read_text()
    read.clear()
    index(tmp_path)
    assert read == ["link.dcm"]


def damaged(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "a bit":
        content[len(content) // 2] ^= 4
    elif how == "cut":
        del content[len(content) // 2 :]
    elif how == "noise":
        content = bytearray(random.Random(1).randbytes(5000))
    else:
        content = bytearray()
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["a bit", "cut", "noise", "empty"])
def test_damaged_cache_is_dropped_with_a_warning(
    tmp_path: Path, how: str, read: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    series(tmp_path / "dicom")
    results = index(tmp_path)
    before = told(results)
    damaged(cache.place(results), how)
    capsys.readouterr()
    read.clear()
    index(tmp_path)
    assert "damaged" in capsys.readouterr().err
    assert len(read) == 10 and told(results) == before


def test_other_code_or_another_folder_reads_all_again(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    series(tmp_path / "dicom")
    results = index(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(packed, "version", lambda: "another")
        read.clear()
        index(tmp_path)
        assert len(read) == 10
    shutil.copytree(tmp_path / "dicom", tmp_path / "moved")
    read.clear()
    index_folder(tmp_path / "moved", results, params())
    assert len(read) == 10


def test_cache_is_private_and_leaves_no_part(tmp_path: Path) -> None:
    series(tmp_path / "dicom")
    results = index(tmp_path)
    assert stat.S_IMODE(cache.place(results).stat().st_mode) == 0o600
    assert not list(results.private.glob(".part*"))


def test_index_that_is_stopped_keeps_what_it_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series(tmp_path / "dicom")
    names: list[str] = []

    def slow(path: str) -> list[Header | Reject]:
        if len(names) == 6:
            raise KeyboardInterrupt
        names.append(path)
        return [read_header(path)]

    monkeypatch.setattr(reading, "read_file", slow)
    with pytest.raises(KeyboardInterrupt):
        index(tmp_path)
    names.clear()
    index(tmp_path)
    assert len(names) == 4


DEADLY = """
import os
from pipeline.ingest import reading
from pipeline.ingest.headers import read_header

def read_file(path):
    if path.endswith("_017.dcm"):
        os._exit(9)
    return [read_header(path)]

def read_chunk(paths):
    return [(path, read_file(path)) for path in paths]
"""
PROGRAM = """
import sys
import deadly
from pipeline.ingest import reading
reading.CHUNK, reading._read_chunk, reading.read_file = 8, deadly.read_chunk, deadly.read_file
for path, (item,) in reading._side_by_side(reading._chunks(iter(sys.argv[1:])), 2):
    print(type(item).__name__, path)
"""


def test_reader_that_dies_costs_only_its_file(tmp_path: Path) -> None:
    """In a program of its own: readers start with what the first of a process had."""
    paths = [str(path) for path in series(tmp_path / "dicom", slices=40)]
    (tmp_path / "deadly.py").write_text(DEADLY)
    search = os.pathsep.join([str(tmp_path), str(Path(reading.__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": search},
    )  # fmt: skip
    found = dict(reversed(line.split(" ", 1)) for line in done.stdout.splitlines())
    assert sorted(found) == paths
    assert [path for path, kind in found.items() if kind == "Reject"] == [paths[17]]


def test_readers_that_can_not_start_are_done_without(tmp_path: Path) -> None:
    """A program from the standard input can't be imported by the readers."""
    paths = [str(path) for path in series(tmp_path / "dicom", slices=20)]
    program = f"""
from pipeline.ingest import reading
found = list(reading._side_by_side(reading._chunks(iter({paths!r})), 2))
print(sum(type(item).__name__ == "Header" for _, (item,) in found))
"""
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True)
    assert done.stdout == "20\n"


anything = st.text(max_size=8)
floats = st.floats(-1e29, 1e29)
numbers = st.none() | floats
vectors = st.none() | st.lists(floats, min_size=1, max_size=6).map(tuple)
KINDS = {
    "str": anything,
    "int": st.integers(-(10**12), 10**12),
    "int | None": st.none() | st.integers(-(10**12), 10**12),
    "float | None": numbers,
    "bool": st.booleans(),
    "Vector | None": vectors,
    "tuple[str, ...]": st.lists(anything, max_size=3).map(tuple),
    "Facts": st.just((("EchoTrainLength", 3.0), ("ScanningSequence", ("GR", "IR")))),
}


def made(kind: type, **known: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    fields = {item.name: item for item in dataclasses.fields(kind)}
    given_ = {
        name: known[name] if name in known else KINDS[str(item.type)]
        for name, item in fields.items()
    }
    return st.builds(kind, **given_)


@given(made(Header, common=made(Common), frames=st.lists(made(Frame), max_size=3).map(tuple)))
def test_headers_come_back_as_they_were(header: Header) -> None:
    shared = packed.common(packed.dump(header.common))
    path, member = (packed.untext(packed.text(text)) for text in (header.path, header.member))
    assert packed.header(path, member, shared, packed.dump(header)) == header


def test_bytes_that_are_no_text_come_back_too() -> None:
    name = os.fsdecode(b"caf\xe9\xff")
    assert packed.untext(packed.text(name)) == name


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "change", "copy", "spoil", "link"]), st.integers(0, 99)
    ),
    min_size=1,
    max_size=4,
)


def step(folder: Path, kind: str, number: int) -> None:
    """Something that happens to a DICOM folder."""
    paths = sorted(path for path in folder.rglob("*.dcm") if path.is_file())
    path = paths[number % len(paths)]
    if kind == "add":
        series(folder / f"f{number}", f"P{number % 3}", date=f"202001{number % 20 + 10}", slices=8)
    elif kind == "remove" and len(paths) > 1:
        path.unlink()
    elif kind == "change":
        path.write_bytes(path.read_bytes().replace(b"t1_mprage_sag ", b"t1_mprage_cor "))
    elif kind == "copy":
        shutil.copy(path, folder / f"copy{number}.dcm")
    elif kind == "spoil":
        path.write_bytes(path.read_bytes()[: 100 + 10 * number])
    elif kind == "link":
        link = folder / f"link{number}.dcm"
        if not link.is_symlink():
            link.symlink_to(path)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(STEPS, min_size=1, max_size=3))
def test_same_answers_with_and_without_cache(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[str, int]]]
) -> None:
    base = tmp_path_factory.mktemp("same")
    dicom = base / "dicom"
    series(dicom, slices=8)
    kept, fresh = Results(base / "kept"), Results(base / "fresh")
    index_folder(dicom, kept, params())
    shutil.copytree(kept.root, fresh.root)
    shutil.copytree(kept.private, fresh.private)
    for steps in rounds:
        for kind, number in steps:
            step(dicom, kind, number)
        cache.place(fresh).unlink(missing_ok=True)
        outcomes = [outcome(dicom, results) for results in (kept, fresh)]
        assert outcomes[0] == outcomes[1]
        assert told(kept) == told(fresh)


def outcome(dicom: Path, results: Results) -> str:
    try:
        index_folder(dicom, results, params())
    except Exception as error:
        return str(error).replace(str(results.root), "")
    return "done"


def test_full_disk_has_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series(tmp_path / "dicom", slices=60)
    connect = cache._connect

    def small(part: Path) -> sqlite3.Connection:
        base = connect(part)
        base.execute("PRAGMA max_page_count = 20")
        return base

    monkeypatch.setattr(cache, "_connect", small)
    with pytest.raises(VoxelwayError) as caught:
        index(tmp_path)
    assert caught.value.code == "E-DISK-FULL"
