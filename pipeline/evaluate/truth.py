"""The truth of a made-up cohort: finds the folder of a pseudonymous subject, and reads from it.

Layout, as ``voxelway phantom`` writes it: participants.tsv (patient_id, folder) and one folder a
subject. The real patient_id never leaves this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.ingest import identity
from pipeline.paths import Results

#: Contrast in whose patient space the truth is given.
SPACE = "T1w"


@dataclass(frozen=True)
class Participant:
    """One row of truth/participants.tsv that is needed here."""

    patient_id: str
    folder: Path


def read_participants(root: Path) -> list[Participant]:
    """Read truth/participants.tsv; subjects that were broken on purpose have no truth.

    Raises:
        VoxelwayError: E-CONFIG-PATH when the folder does not exist, E-TRUTH when the table is
            absent or lacks a column.
    """
    where = f"evaluate.truth = {root}"
    if not root.is_dir():
        hint = "Correct the path, or leave evaluate.truth empty when there is no truth"
        raise VoxelwayError("E-CONFIG-PATH", "The folder does not exist", where=where, hint=hint)
    table = root / "participants.tsv"
    if not table.is_file():
        hint = "It has the columns patient_id and folder, as `voxelway phantom` writes them"
        raise VoxelwayError("E-TRUTH", "There is no participants.tsv", where=where, hint=hint)
    rows = files.read_tsv(table)
    if rows and not {"patient_id", "folder"} <= set(rows[0]):
        what = "participants.tsv lacks the column patient_id or folder"
        raise VoxelwayError("E-TRUTH", what, where=where)
    return [
        Participant(row["patient_id"], root / row["folder"])
        for row in rows
        if not row.get("broken")
    ]


@dataclass(frozen=True)
class Truth:
    """The truth of one subject; images are in the patient space of the T1w."""

    folder: Path

    def path(self, name: str) -> Path:
        """A file of the folder.

        Raises:
            VoxelwayError: E-TRUTH when it is not there.
        """
        path = self.folder / name
        if not path.is_file():
            hint = "Write the phantom again"
            raise VoxelwayError("E-TRUTH", f"The truth has no {name}", hint=hint)
        return path

    def rigid(self, suffix: str) -> sitk.Transform | None:
        """True transform from points of the T1w's space to points of ``suffix``'s.

        None where it is the identity.
        """
        if suffix == SPACE:
            return None
        return sitk.ReadTransform(str(self.path(f"{suffix}_to_{SPACE}.mat")))

    def rigid_back(self, suffix: str) -> sitk.Transform | None:
        """True transform from points of ``suffix``'s space to points of the T1w's."""
        forward = self.rigid(suffix)
        return None if forward is None else forward.GetInverse()


def find_truth(participants: Sequence[Participant], results: Results, subject: str) -> Truth | None:
    """The truth of a pseudonymous subject; None where there is none.

    Raises:
        VoxelwayError: E-FILE-READ when the key of the pseudonyms is gone; E-TRUTH when the
            subject is listed and its folder is not there.
    """
    if not participants:
        return None
    key = identity.read_key(results)
    for participant in participants:
        if participant.patient_id and identity.pseudonym(key, participant.patient_id) == subject:
            if not participant.folder.is_dir():
                what = "The truth lists this subject, and its folder does not exist"
                raise VoxelwayError("E-TRUTH", what, where=f"sub-{subject}")
            return Truth(participant.folder)
    return None
