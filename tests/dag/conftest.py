"""A copy of the project whose `voxelway` computes nothing: fast runs of the real rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Run:
    """How one call of Snakemake ended."""

    code: int
    text: str

    @property
    def jobs(self) -> dict[str, int]:
        """Rule → number of jobs, from the first job table."""
        _, _, table = self.text.partition("Job stats:")
        found: dict[str, int] = {}
        for line in table.splitlines()[1:]:
            parts = line.split()
            if len(parts) == 2 and parts[1].isdigit():
                found[parts[0]] = int(parts[1])
            if parts[:1] == ["total"]:
                break
        return {rule: count for rule, count in found.items() if rule not in ("all", "total")}

    @property
    def executed(self) -> dict[str, list[str]]:
        """Rule → wildcards of the jobs that were started."""
        started: dict[str, list[str]] = {}
        for block in re.split(r"\n(?=(?:local)?(?:rule|checkpoint) )", self.text):
            head = re.match(r"(?:local)?(?:rule|checkpoint) (\w+):", block)
            if head:
                subject = re.search(r"wildcards: .*?subject=(\w+)", block)
                started.setdefault(head[1], []).append(subject[1] if subject else "")
        return {rule: sorted(who) for rule, who in started.items() if rule != "all"}


@dataclass
class Project:
    """A copy of the project in a temporary folder."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which the copy and its stub are found."""
        path = f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        # compiled once for all jobs, also where the tests themselves leave no bytecode behind
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PYTHONPATH": str(self.root), "PATH": path}

    def snakemake(self, *arguments: str) -> Run:
        """Run Snakemake as a user types it."""
        command = [sys.executable, "-m", "snakemake", "--profile", "local", "--cores", "4"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, ANSI.sub("", done.stdout))

    def copied(self, root: Path) -> Project:
        """A copy of a project in which nothing has run yet."""
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)

    def add_subject(self, name: str) -> None:
        """Put a folder with one file into the DICOM folder."""
        folder = self.root / "dicom" / name
        folder.mkdir(parents=True)
        (folder / "IM0001").write_text("dicom")

    def order(self, text: str) -> None:
        """Tell the stub what to fail."""
        (self.root / "orders").write_text(text)

    def configure(self, text: str) -> None:
        """Replace the configuration; the paths stay."""
        head = "dicom: dicom\nresults: results\n"
        (self.root / "config" / "config.yaml").write_text(head + text)


def make(root: Path) -> Project:
    """A fresh copy with two subjects."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("pipeline", "workflow", "config", "envs"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    shutil.copy(ROOT / "Snakefile", root)
    (root / "local").symlink_to("workflow/profiles/local")
    stub = root / "bin" / "voxelway"
    stub.parent.mkdir()
    script = Path(__file__).with_name("stub.py")
    stub.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    stub.chmod(0o755)
    project = Project(root)
    project.configure("")
    for name in ("one", "two"):
        project.add_subject(name)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy with two subjects."""
    return make(tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The copy after a whole run, made once; not to be changed."""
    project = make(tmp_path_factory.mktemp("whole"))
    run = project.snakemake()
    assert run.code == 0, run.text
    return project


def copy(whole: Project, root: Path) -> Project:
    """A copy of a project with its results, to be changed by one test."""
    shutil.copytree(whole.root, root, symlinks=True)
    # the index keeps the folders that it read by their full paths
    ledger = root / "results-private" / "dirs.json"
    age = ledger.stat()
    ledger.write_text(ledger.read_text().replace(str(whole.root), str(root)))
    os.utime(ledger, ns=(age.st_atime_ns, age.st_mtime_ns))
    return Project(root)


@pytest.fixture
def finished(whole: Project, tmp_path: Path) -> Project:
    """The copy after a whole run, for one test."""
    return copy(whole, tmp_path / "project")
