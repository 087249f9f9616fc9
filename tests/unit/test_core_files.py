"""Files are whole or absent."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipeline import files
from pipeline.errors import CODES, Exit, VoxelwayError, from_exception, from_os_error

from . import error_page

ROOT = Path(__file__).parents[2]


def test_atomic_leaves_nothing_behind_when_the_writer_fails(tmp_path: Path) -> None:
    target = tmp_path / "a.nii.gz"
    target.write_bytes(b"before")
    with pytest.raises(RuntimeError), files.atomic(target) as part:
        part.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]


def test_atomic_keeps_the_double_suffix(tmp_path: Path) -> None:
    with files.atomic(tmp_path / "sub-1_T1w.nii.gz") as part:
        assert part.name.endswith(".nii.gz")
        part.write_bytes(b"x")
    assert (tmp_path / "sub-1_T1w.nii.gz").read_bytes() == b"x"


def test_full_disk_is_a_coded_error_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "table.tsv"
    with pytest.raises(VoxelwayError) as caught, files.atomic(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.code == "E-DISK-FULL"
    assert list(tmp_path.iterdir()) == []


def test_unchanged_text_keeps_its_age(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert files.write_text_if_changed(path, "one")
    age = path.stat().st_mtime_ns
    assert not files.write_text_if_changed(path, "one")
    assert path.stat().st_mtime_ns == age
    assert files.write_text_if_changed(path, "two")


def test_tsv_round_trip_and_fields(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    rows = [{"a": None, "b": True, "c": 0.1234567891, "d": "two\twords\nhere"}]
    files.write_tsv(path, ("a", "b", "c", "d"), rows)
    assert files.read_tsv(path) == [{"a": "", "b": "true", "c": "0.123457", "d": "two words here"}]


def test_a_folder_that_is_a_file_is_refused_with_a_code(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(VoxelwayError) as caught:
        files.write_text(tmp_path / "file" / "out.txt", "x")
    assert caught.value.code == "E-DIR-WRITE"


def test_every_code_has_an_exit_and_a_meaning() -> None:
    for code, entry in CODES.items():
        assert entry.exit in (Exit.COMMAND, Exit.REFUSED, Exit.OUTSIDE), code
        assert entry.meaning, code
    with pytest.raises(KeyError):
        VoxelwayError("E-NO-SUCH-CODE", "what")


def test_exceptions_become_codes() -> None:
    assert from_exception(MemoryError()).code == "E-MEMORY"
    assert from_exception(ValueError("bad")).code == "E-INTERNAL"
    assert from_os_error(OSError(errno.EROFS, "ro")).code == "E-DIR-WRITE"


def test_an_error_says_where_it_happened_and_what_to_do() -> None:
    error = VoxelwayError("E-IMG-NAN", "3 voxels", where="sub-1", hint="Look")
    assert str(error) == "E-IMG-NAN: 3 voxels. In sub-1. Look."
    assert from_exception(error, "sub-2") is error
    bare = from_exception(VoxelwayError("E-IMG-NAN", "3 voxels", hint="Look"), "sub-2")
    assert str(bare) == "E-IMG-NAN: 3 voxels. In sub-2. Look."
    for code in CODES:
        told = VoxelwayError(code, "It is so").message
        assert (told != "It is so.") == code.startswith("E-"), code


def test_the_page_of_codes_is_that_of_the_code() -> None:
    written = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert written == error_page.page(), "run: python -m tests.unit.error_page docs/errors.md"
