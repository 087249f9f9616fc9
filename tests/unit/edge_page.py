"""docs/edge-cases.md: what becomes of each case, by running it.

``python -m tests.unit.edge_page docs/edge-cases.md`` writes it again.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from pipeline import config, files
from pipeline.errors import VoxelwayError
from pipeline.ingest.folder import convert_folder

from .edge_cases import CASES, Case, write

HEAD = """# What can be wrong with an export, and what becomes of it

Each line is a case that the tests make from a sound series of 16 slices, and what
`voxelway convert` makes of it; the workflow's first step does the same. This page is made by
`python -m tests.unit.edge_page docs/edge-cases.md`, and a test compares it.

A refused series is in `quarantine.tsv` with its code, the numbers and pseudonyms of the files that
stand out; the private folder beside the results tells where those are. Nothing else of the export
is stopped by it. `ingest.policy` of the configuration sets for some codes that the series is
repaired or accepted instead; what was done is in the sidecar under `Findings`, and a warning on the
QC page.

| case | code | what is said | by default | `repair` | `accept` |
| --- | --- | --- | --- | --- | --- |
"""
TAIL = """
- converted: the voxels and the affine are those of the sound series.
- repaired, accepted: there is an image, and its sidecar says what was found and done.
- refused: there is no image.

What nothing tells can't be seen: slices that are missing at an end of a stack whose header promises
no number of images (then the sidecar's `SlicesPromised` says so), and damage to pixels that can be
decoded nevertheless.
"""
#: Labels of files in a message: their key is drawn anew for every folder of results.
LABELS = re.compile(r" \(files [^)]*\)|\bs[a-z2-7]{10}\b")


@dataclass(frozen=True)
class Outcome:
    """What became of one case: codes and messages of the quarantine, the image and its notes."""

    told: dict[str, str]
    image: bool
    equal: bool
    notes: tuple[str, ...]
    promised: int | str = ""

    @property
    def word(self) -> str:
        """One word for the table."""
        if not self.image:
            return "refused"
        if self.notes:
            return self.notes[0].partition(": ")[2].partition(":")[0]
        return "converted" if self.equal else "converted, shorter"


class Edges:
    """Runs cases in a folder, against the image of the sound series."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.sound = self._convert(Case("sound", lambda paths: None), {})[1]
        assert self.sound is not None

    def run(self, case: Case, policy: dict[str, str] | None = None) -> Outcome:
        """Make a case and convert it."""
        told, found = self._convert(case, policy or {})
        if found is None:
            return Outcome(told, False, False, ())
        assert self.sound is not None
        equal = _equal(found[0], self.sound[0])
        return Outcome(told, True, equal, tuple(found[1]["Findings"]), found[1]["SlicesPromised"])

    def _convert(self, case: Case, policy: dict[str, str]) -> tuple[dict[str, str], Any]:
        self.count += 1
        place = self.folder / f"{self.count:03d}"
        paths = write(place / "dicom")
        case.damage(paths)
        params = {**config.section("ingest", {"policy": policy}), "seed": 0}
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(VoxelwayError):
            convert_folder(place / "dicom", place / "bids", params)
        told = {
            row["code"]: LABELS.sub(_masked, row["message"])
            for row in reversed(files.read_tsv(place / "bids" / "quarantine.tsv"))
        }
        images = sorted((place / "bids").rglob("*_T1w.nii.gz"))
        if not images:
            return told, None
        sidecar = json.loads(images[0].with_suffix("").with_suffix(".json").read_text())
        return told, (nib.load(images[0]), sidecar)


def _masked(match: re.Match[str]) -> str:
    """A label of a series becomes an ellipsis, and the labels of files go."""
    return "" if match.group().startswith(" ") else "…"


def _equal(found: Any, sound: Any) -> bool:
    same = found.shape == sound.shape and np.allclose(found.affine, sound.affine)
    return bool(same and np.array_equal(np.asarray(found.dataobj), np.asarray(sound.dataobj)))


def actions(code: str) -> list[str]:
    """What ``ingest.policy`` allows for a code beside refusing."""
    known = config.schema()["properties"]["ingest"]["properties"]["policy"]["properties"]
    return [action for action in known.get(code, {}).get("enum", []) if action != "refuse"]


def outcomes(case: Case, edges: Edges) -> dict[str, Outcome]:
    """What becomes of a case by default, and with each action that its code allows."""
    found = {"default": edges.run(case)}
    for action in actions(case.code):
        found[action] = edges.run(case, {case.code: action})
    return found


def line(case: Case, found: dict[str, Outcome]) -> str:
    """One line of the table."""
    default = found["default"]
    message = default.told.get(case.code) or next(iter(default.notes), "").partition(": ")[2]
    words = [found[key].word if key in found else "" for key in ("default", "repair", "accept")]
    cells = [case.name, f"`{case.code}`" if case.code else "", message.replace("|", "\\|"), *words]
    return f"| {' | '.join(cells)} |"


def page(rows: Sequence[str]) -> str:
    """The whole page in Markdown."""
    return HEAD + "\n".join(rows) + "\n" + TAIL


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="voxelway-") as name:
        runs = Edges(Path(name))
        lines = [line(case, outcomes(case, runs)) for case in CASES]
    files.write_text(Path(sys.argv[1]), page(lines))
