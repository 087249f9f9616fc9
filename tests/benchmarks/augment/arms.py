"""What is compared, and the configurations of the trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import VoxelwayError
from tests.benchmarks.segment import cases
from tests.benchmarks.segment.cases import ENDING, Case

#: Arm → ``segment.learning.augmentation``.
ARMS: dict[str, list[str]] = {
    "none": [],
    "classical": ["classical"],
    "gan": ["classical", "gan"],
    "one_shot": ["classical", "one_shot"],
}
#: Generators of the arms that have one.
GENERATORS = {"gan": "spade", "one_shot": "one_shot"}
#: Their learning rates, which suit trainings of some hundred steps.
RATES = {"gan": {"learning_rate": 0.0004}, "one_shot": {"learning_rate": 0.001}}
NAME, LICENCE = "bench", "as the data's"


@dataclass(frozen=True)
class Split:
    """Cases of one size of the training set; a case is in one part only.

    Attributes:
        train: labelled.
        validation: one case, which fits the temperature; with one validation at the end it chooses
            nothing.
        scans: whose labels are not read.
        test: the same for every size.
    """

    train: list[Case]
    validation: list[Case]
    scans: list[Case]
    test: list[Case]


def split(found: Sequence[Case], size: int, tested: int, scans: int, seed: int) -> Split:
    """Deal cases out.

    Args:
        found: in the order of their names.
        size: of the training set; a smaller one is part of a larger one.
        tested: number of cases to test on.
        scans: number of cases whose images are used without labels, at most.
        seed: of the order.

    Raises:
        VoxelwayError: E-USAGE for too few cases.
    """
    import numpy as np

    if size + tested + 1 > len(found):
        what = f"{size} cases to train on, 1 to validate and {tested} to test on, of {len(found)}"
        raise VoxelwayError("E-USAGE", what, hint="Lower SIZES or CASES")
    order = [found[int(n)] for n in np.random.default_rng(seed).permutation(len(found))]
    test, held, rest = order[:tested], order[tested : tested + 1], order[tested + 1 :]
    return Split(rest[:size], held, rest[size : size + scans], sorted(test, key=lambda c: c.name))


def lay_out(one: Split, folder: Path) -> None:
    """Links: ``folder/labelled`` and ``folder/scans``."""
    cases.lay_out([*one.train, *one.validation], folder / "labelled")
    cases.lay_out(one.scans, folder / "scans")


def entry(one: Split, folder: Path) -> dict[str, Any]:
    """An entry ``data`` of either section."""
    return {
        "name": NAME,
        "folder": str((folder / "labelled").absolute()),
        "labels": f"labels/*{ENDING}",
        "images": {"T1w": f"images/{{case}}{ENDING}"},
        "licence": LICENCE,
        "validation": [case.name for case in one.validation],
    }


def unlabelled(one: Split, folder: Path) -> list[dict[str, Any]]:
    """Entries ``scans``; empty where there are none."""
    if not one.scans:
        return []
    return [
        {
            "name": f"{NAME}, without labels",
            "folder": str((folder / "scans").absolute()),
            "images": {"T1w": f"images/*{ENDING}"},
            "licence": LICENCE,
        }
    ]


def segmenter(
    base: Mapping[str, Any], arm: str, one: Split, folder: Path, steps: int, seed: int,
    changes: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Configuration of a segmenter's training.

    Args:
        base: a configuration whose section ``segment`` is taken but for what follows.
        arm: of :data:`ARMS`.
        one: cases, laid out in ``folder``.
        folder: where the bundles of the generators are too.
        steps: of the training; it validates once, at the end.
        seed: of the training.
        changes: of ``segment.learning``.
    """
    section = base["segment"]
    learning = {
        **section["learning"],
        "folds": 1,
        "members": 0,
        "data": [entry(one, folder)],
        "augmentation": ARMS[arm],
        "augmentation_models": {
            key: str(bundle_of(folder, key)) for key in ARMS[arm] if key in GENERATORS
        },
        "augmentation_scans": unlabelled(one, folder) if "one_shot" in ARMS[arm] else [],
        **changes,
    }
    training = {**section["training"], "steps": steps, "validate_every": steps}
    return {"seed": seed, "segment": {**section, "learning": learning, "training": training}}


def generator(
    base: Mapping[str, Any], name: str, one: Split, folder: Path, steps: int, section: Any
) -> dict[str, Any]:
    """Configuration of a generator's training.

    Args:
        base: as for :func:`segmenter`; labels, patch and precision are taken from it.
        name: of :data:`GENERATORS`.
        one: cases, laid out in ``folder``.
        folder: of the split.
        steps: of the training.
        section: further keys of ``synthesize.augmentation``.
    """
    learning = base["segment"]["learning"]
    level = learning["levels"][-1]
    made = {
        "generator": GENERATORS[name],
        "labels": learning["labels"],
        "data": [entry(one, folder)],
        "scans": unlabelled(one, folder),
        "training": {
            "steps": steps,
            "batch": 2,
            "precision": base["segment"]["training"].get("precision", "auto"),
            "validate_every": max(1, steps // 4),
            **RATES[name],
        },
    }
    if "patch" in level:
        made["patch"] = level["patch"]
    if "spacing" in level:
        made["spacing"] = float(level["spacing"])
    return {"seed": 0, "synthesize": {"augmentation": {**made, **section}}}


def bundle_of(folder: Path, name: str) -> Path:
    """Where the bundle of a generator is."""
    return (folder / name).absolute()


def write(content: Mapping[str, Any], path: Path) -> Path:
    """A configuration as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
    return path
