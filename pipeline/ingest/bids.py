"""The files that make a folder a BIDS dataset, and the sidecars' facts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import __version__, files
from pipeline.ingest.manifest import Row
from pipeline.paths import Results

BIDS_VERSION = "1.10.0"

README = """Brain images converted from DICOM by Voxelway.

Subjects are pseudonyms. Sessions are studies, numbered in the order of their dates; the dates are
not part of this dataset. Nothing was resampled, except where a sidecar's "ConversionSuffix" says
that slices were made equidistant or a gantry tilt was corrected.

The folder "unsorted", where there is one, holds what no rule of the protocol takes; BIDS has no
names for it.
"""
PARTICIPANTS = {
    "sessions": {"Description": "Number of sessions with at least one image"},
    "split": {
        "Description": "What the subject is used for when models are trained in this cohort",
        "Levels": {
            "train": "models are trained on it",
            "val": "decides when a training ends",
            "test": "never seen in training",
        },
    },
}
IGNORED = "manifest.tsv\nquarantine.tsv\nunsorted/\nderivatives/\nlogs/\nbenchmarks/\n"


def description(name: str, kind: str) -> dict[str, Any]:
    """Content of a dataset_description.json; ``kind`` is raw or derivative."""
    generated = {"Name": "voxelway", "Version": __version__}
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": kind,
        "GeneratedBy": [generated],
    }


def write_dataset(results: Results, rows: Sequence[Row]) -> None:
    """Write the files about the whole dataset, in rawdata and beside it."""
    raw = results.rawdata
    _write_json(results, raw, description("Brain images from DICOM", "raw"))
    if raw != results.root:
        _write_json(results, results.root, description("Voxelway results", "derivative"))
    else:
        files.write_text_if_changed(raw / ".bidsignore", IGNORED)
    files.write_text_if_changed(raw / "README", README)
    for folder in {raw, results.root}:
        text = json.dumps(PARTICIPANTS, indent=2) + "\n"
        files.write_text_if_changed(folder / "participants.json", text)
        files.write_tsv(folder / "participants.tsv", _COLUMNS, _participants(raw, rows))


_COLUMNS = ("participant_id", "sessions", "split")


def _write_json(results: Results, folder: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2) + "\n"
    files.write_text_if_changed(folder / results.description.name, text)


def _participants(raw: Path, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Subjects of the manifest, and those whose DICOM is gone but whose images are still there."""
    splits = {row.subject: row.split for row in rows}
    sessions: dict[str, set[str]] = {}
    for row in rows:
        sessions.setdefault(row.subject, set()).add(row.session)
    for folder in raw.glob("sub-*"):
        name = folder.name.removeprefix("sub-")
        if name not in splits:
            splits[name] = "n/a"
            sessions[name] = {path.name for path in folder.glob("ses-*")}
    return [
        {"participant_id": f"sub-{name}", "sessions": len(sessions[name]), "split": splits[name]}
        for name in sorted(splits)
    ]
