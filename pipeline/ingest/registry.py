"""What stays as it was once given: a subject's split, a study's session, a unit's shard.

Private, because the sessions are looked up by the date of the study.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.ingest.identity import normalised
from pipeline.paths import Results, Unit


@dataclass
class Subject:
    """One subject: its split, per study date the session, per session the shard and place."""

    split: str
    sessions: dict[str, str] = field(default_factory=dict)
    shards: dict[str, int] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)


@dataclass
class Registry:
    """All subjects that were ever indexed into one results folder."""

    subjects: dict[str, Subject] = field(default_factory=dict)

    @classmethod
    def read(cls, results: Results) -> Registry:
        """Read the registry; empty before the first index.

        Raises:
            VoxelwayError: E-FILE-READ when it is damaged.
        """
        path = results.private / "registry.json"
        if not path.is_file():
            return cls()
        try:
            return cls({name: Subject(**item) for name, item in files.read_json(path).items()})
        except (TypeError, AttributeError) as error:
            hint = "Restore it from a backup, or index into another results folder"
            what = f"The registry of sessions and splits is damaged ({error})"
            raise VoxelwayError("E-FILE-READ", what, where=str(path), hint=hint) from error

    def write(self, results: Results) -> None:
        """Write the registry."""
        content = {name: vars(subject) for name, subject in self.subjects.items()}
        files.write_json(results.private / "registry.json", content)

    def enrol(self, patients: Mapping[str, str], params: Mapping[str, Any]) -> None:
        """Give new subjects their split.

        Args:
            patients: pseudonym → PatientID of every subject of this index.
            params: ``split`` with the shares, ``seed``.
        """
        known = {name for name, subject in self.subjects.items() if subject.split}
        new = {name: patient for name, patient in patients.items() if name not in known}
        drawn = {} if known else draw(new, params["split"], int(params["seed"]))
        for name in new:
            self._subject(name).split = drawn.get(name, "test")

    def _subject(self, name: str) -> Subject:
        """The entry of a subject; a new one has no split yet."""
        return self.subjects.setdefault(name, Subject(""))

    def session(self, subject: str, studies: Iterable[str]) -> dict[str, str]:
        """Session labels of a subject's studies, known by their date, in the order of the dates."""
        known = self._subject(subject).sessions
        for study in sorted(set(studies) - set(known)):
            known[study] = f"{len(known) + 1:02d}"
        return known

    def assign_shards(self, units: Iterable[Unit], size: int) -> None:
        """Give new units a shard; a shard that stands is never filled up, so nothing runs again."""
        taken = [n for subject in self.subjects.values() for n in subject.shards.values()]
        start = max(taken, default=-1) + 1
        new = [u for u in sorted(units) if u.session not in self.subjects[u.subject].shards]
        for n, unit in enumerate(new):
            self.subjects[unit.subject].shards[unit.session] = start + n // size
            self.subjects[unit.subject].places[unit.session] = n % size


def draw(patients: Mapping[str, str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Split subjects by the rank of a hash of seed and PatientID, whatever the key is.

    At least one subject is in each split when there are three or more; of two, one is for
    training and one for testing.
    """

    def place(name: str) -> str:
        text = f"{seed}:{normalised(patients[name])}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    ranked = sorted(patients, key=place)
    n = len(ranked)
    if n < 3:
        return dict(zip(ranked, ("train", "test"), strict=False))
    val = min(max(1, math.floor(n * shares["val"] + 0.5)), n - 2)
    train = min(max(1, math.floor(n * shares["train"] + 0.5)), n - val - 1)
    names = ["train"] * train + ["val"] * val + ["test"] * (n - train - val)
    return dict(zip(ranked, names, strict=True))
