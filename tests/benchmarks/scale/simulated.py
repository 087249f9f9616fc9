"""A copy of the project with a cohort of any size, whose jobs end at once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.scale.measure import Cost, call
from tests.dag.conftest import Project, make

PLUGINS = Path(__file__).with_name("plugins")
LOCAL = ("--profile", "local", "--cores", "2")


@dataclass(frozen=True)
class Simulated:
    """A project after its index.

    Attributes:
        project: the copy.
        subjects: their names.
    """

    project: Project
    subjects: Sequence[str]

    @property
    def root(self) -> Path:
        """Folder of the copy."""
        return self.project.root

    def snakemake(self, *arguments: str, more: Mapping[str, str] | None = None) -> Cost:
        """Measure one call, as a user types it."""
        command = [sys.executable, "-m", "snakemake", *arguments]
        return call(command, self.root, {**self._variables(), **(more or {})})

    def finish(self, *arguments: str) -> tuple[Cost, Counter[str]]:
        """Run everything with jobs that end at once; also the jobs that a cluster was sent."""
        note = self.root / "jobs.tsv"
        cost = self.snakemake(
            *LOCAL, "--executor", "simulated", "--jobs", "10000", *arguments,
            more={"VOXELWAY_SIMULATED_JOBS": str(note)},
        )  # fmt: skip
        if cost.code:
            raise RuntimeError(cost.text[-3000:])
        return cost, Counter(line.split("\t")[0] for line in note.read_text().splitlines())

    def files_of_snakemake(self) -> int:
        """Files that Snakemake keeps beside the results."""
        return sum(path.is_file() for path in (self.root / ".snakemake").rglob("*"))

    def files_of_results(self) -> int:
        """Files of the results and of the folder beside them, without the images."""
        folders = (self.root / "results", self.root / "results-private")
        return sum(path.is_file() for folder in folders for path in folder.rglob("*"))

    def _variables(self) -> dict[str, str]:
        found = self.project.environment
        return {**found, "PYTHONPATH": f"{found['PYTHONPATH']}:{PLUGINS}"}


def build(root: Path, subjects: int, configuration: str = "") -> Simulated:
    """A copy with this many subjects, each with one folder of DICOM, after the real index rule."""
    root.mkdir(parents=True, exist_ok=True)
    project = make(root)
    for name in ("one", "two"):
        (root / "dicom" / name / "IM0001").unlink()
        (root / "dicom" / name).rmdir()
    names = [f"S{n:05d}" for n in range(subjects)]
    for name in names:
        project.add_subject(name)
    project.configure(configuration)
    made = Simulated(project, names)
    cost = made.snakemake(*LOCAL, "--quiet", "all", "--", "results/manifest.tsv")
    if cost.code:
        raise RuntimeError(cost.text[-3000:])
    return made
