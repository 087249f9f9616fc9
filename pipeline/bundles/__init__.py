"""Model bundles: a folder of weights (safetensors), metadata (JSON) and a card (Markdown).

No pickle is ever read. A bundle that exists is whole, and its weights are those that its metadata
describes. The folders STAGE/METHOD beside this file are the bundles that ship.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import files
from pipeline.errors import VoxelwayError

WEIGHTS, METADATA, CARD = "model.safetensors", "metadata.json", "README.md"
#: What the model makes of subjects that it was not trained on.
SAMPLES = "samples.png"
#: Files that a bundle may hold beside these three: how its trainings went, what was planned.
EXTRAS = ("training.png", "training.csv", "training_*.csv", "plan.json", SAMPLES)
#: Entries that every metadata.json has; a dot goes one level down.
REQUIRED = (
    "stage",
    "architecture",
    "inputs",
    "outputs",
    "training.subjects",
    "training.split",
    "training.seed",
    "training.code",
    "training.version",
)

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Bundle:
    """A model in memory: tensors by name, and what its metadata says."""

    path: Path
    tensors: Tensors
    metadata: dict[str, Any]


def write_bundle(
    out: Path,
    tensors: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, Any],
    card: str,
    extras: Mapping[str, bytes] | None = None,
) -> None:
    """Write a bundle, whole or not at all; one that exists is replaced.

    Args:
        out: folder of the bundle.
        tensors: weights by name; none is a bundle that says why there is no model.
        metadata: with the entries of :data:`REQUIRED`; ``weights`` is added.
        card: Markdown: what the model is for, what it is not, known failures.
        extras: contents of further files, named in :data:`EXTRAS`.

    Raises:
        VoxelwayError: E-CONFIG-PATH when ``out`` holds other files, E-DISK-FULL, E-DIR-WRITE.
    """
    from safetensors.numpy import save_file

    lacking = missing_entries(metadata)
    if lacking:
        raise ValueError(f"metadata lacks {', '.join(lacking)}")
    more = extras or {}
    strange = [name for name in more if not any(fnmatch(name, known) for known in EXTRAS)]
    if strange:
        raise ValueError(f"a bundle holds no {', '.join(sorted(strange))}")
    with files.whole_folder(out, {WEIGHTS, METADATA, CARD, *EXTRAS}, "model bundle") as part:
        # asarray keeps what has no axis, as a counter of a normalization, as it is
        whole = {name: np.asarray(values, order="C") for name, values in tensors.items()}
        save_file(whole, str(part / WEIGHTS))
        shapes = {name: list(values.shape) for name, values in whole.items()}
        weights = {"sha256": files.sha256(part / WEIGHTS), "tensors": shapes}
        files.write_json(part / METADATA, {**metadata, "weights": weights})
        files.write_text(part / CARD, card)
        for name, content in more.items():
            (part / name).write_bytes(content)


def read_bundle(path: Path, stage: str) -> Bundle:
    """Read a bundle and check it.

    Args:
        path: folder of the bundle.
        stage: the stage that wants to use it.

    Raises:
        VoxelwayError: E-MODEL-MISSING when a file or an entry of the metadata is missing,
            E-MODEL-CHECKSUM when the weights are not those of the metadata, E-MODEL-INPUT when
            the model is of another stage.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    metadata = _metadata(path)
    if metadata["stage"] != stage:
        what = f"The model is of the stage {metadata['stage']!r}, not {stage!r}"
        raise VoxelwayError("E-MODEL-INPUT", what, where=str(path))
    digest = files.sha256(path / WEIGHTS)
    expected = metadata["weights"]["sha256"]
    if digest != expected:
        what = f"The weights' SHA-256 is {digest[:12]}…, the metadata says {str(expected)[:12]}…"
        hint = "Copy the bundle again, or train it again"
        raise VoxelwayError("E-MODEL-CHECKSUM", what, where=str(path / WEIGHTS), hint=hint)
    try:
        return Bundle(path, load_file(str(path / WEIGHTS)), metadata)
    except (SafetensorError, ValueError) as error:
        what = f"The weights can't be read: {str(error).splitlines()[0][:200]}"
        raise VoxelwayError("E-MODEL-CHECKSUM", what, where=str(path / WEIGHTS)) from error


def _metadata(path: Path) -> dict[str, Any]:
    absent = [name for name in (WEIGHTS, METADATA) if not (path / name).is_file()]
    if absent:
        hint = "`voxelway train` writes bundles"
        what = f"The bundle lacks {', '.join(absent)}"
        raise VoxelwayError("E-MODEL-MISSING", what, where=str(path), hint=hint)
    metadata = files.read_json(path / METADATA)
    if not isinstance(metadata, dict):
        raise VoxelwayError("E-MODEL-MISSING", "No mapping", where=str(path / METADATA))
    lacking = missing_entries(metadata, (*REQUIRED, "weights.sha256"))
    if lacking:
        what = f"metadata.json lacks {', '.join(lacking)}"
        raise VoxelwayError("E-MODEL-MISSING", what, where=str(path / METADATA))
    return metadata


def missing_entries(metadata: Mapping[str, Any], required: tuple[str, ...] = REQUIRED) -> list[str]:
    """Required entries that a metadata mapping does not have."""

    def has(entry: str) -> bool:
        place: Any = metadata
        for key in entry.split("."):
            if not isinstance(place, Mapping) or key not in place:
                return False
            place = place[key]
        return True

    return [entry for entry in required if not has(entry)]
