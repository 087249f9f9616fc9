"""A change of meaning changes the fingerprint; a comment does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.methods import stage_packages

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "from pipeline.methods import stage_code; print(stage_code('denoise', {'method': 'nlm'}))"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=ignore)
    return tmp_path


def fingerprint(project: Path) -> str:
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.check_output(command, cwd=project, text=True).strip()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_comment_docstring_and_layout_do_not_count(project: Path) -> None:
    before = fingerprint(project)
    path = project / "pipeline" / "images.py"
    text = path.read_text()
    path.write_text("# a comment\n" + text.replace('"""Read a scalar', '"""READ a scalar') + "\n\n")
    assert fingerprint(project) == before


def test_a_changed_line_of_the_method_counts(project: Path) -> None:
    before = fingerprint(project)
    path = project / "pipeline" / "denoise" / "methods" / "nlm.py"
    path.write_text(path.read_text() + "\nEXTRA = 1\n")
    assert fingerprint(project) != before


def test_a_changed_import_of_an_import_counts(project: Path) -> None:
    before = fingerprint(project)
    edit(project / "pipeline" / "files.py", "indent=2", "indent=3")
    assert fingerprint(project) != before


def test_another_method_and_a_later_stage_do_not_count(project: Path) -> None:
    before = fingerprint(project)
    for path in (
        project / "pipeline" / "denoise" / "methods" / "bilateral.py",
        project / "pipeline" / "segment" / "stage.py",
        project / "pipeline" / "cli.py",
    ):
        path.write_text(path.read_text() + "\nEXTRA = 1\n")
    assert fingerprint(project) == before


def test_packages_of_the_named_methods_alone() -> None:
    def names(stage: str, method: str) -> list[str]:
        return [text.split()[0] for text in stage_packages(stage, {"method": method})]

    assert "antspyx" in names("denoise", "ants_nlm")
    assert "antspyx" not in names("denoise", "nlm")
    assert "torch" in names("register", "voxelmorph")
    assert all(version[0].isdigit() and "+" not in version for version in versions("register"))


def versions(stage: str) -> list[str]:
    return [text.split()[1] for text in stage_packages(stage, {})]


def test_a_text_is_remembered_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = [sys.executable, "-c", SCRIPT]
    first = subprocess.check_output(command, cwd=ROOT, text=True)
    (kept,) = (tmp_path / "voxelway").glob("*.json")
    assert subprocess.check_output(command, cwd=ROOT, text=True) == first
    for broken in ("no JSON", '["a list"]', '{"0": ["short"]}'):
        kept.write_text(broken)
        assert subprocess.check_output(command, cwd=ROOT, text=True) == first
