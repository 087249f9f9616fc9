"""Made-up scans of few voxels, and requests for unpaired training on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline import files, images
from pipeline.synthesize.learning import profile
from pipeline.synthesize.learning.cases import Scan
from pipeline.synthesize.learning.job import Request
from pipeline.synthesize.learning.presets import PRESETS, Preset
from pipeline.synthesize.learning.profile import Target
from pipeline.training.plan import Plan

SIZE = 16
#: Values of cerebrospinal fluid, grey and white matter.
VALUES = {"T1w": (0.3, 0.8, 1.2), "T2w": (2.2, 1.1, 0.8)}


def scan(subject: str, suffixes: tuple[str, ...], seed: int, split: str = "train",
         labelled: bool = True) -> Scan:  # fmt: skip
    """Layers of three tissues whose borders are the subject's own."""
    rng = np.random.default_rng(seed)
    z = np.arange(SIZE)[:, None, None] + np.zeros((SIZE,) * 3)
    place = z + 2 * rng.random() + np.sin(np.arange(SIZE) / (2 + rng.random()))
    labels = np.digitize(place, [5.0, 11.0]) + 1
    mask = np.zeros((SIZE,) * 3, dtype=bool)
    mask[1:-1, 1:-1, 1:-1] = True
    contrasts, targets = {}, {}
    for suffix in suffixes:
        values = np.take((0.0, *VALUES[suffix]), labels) + 0.02 * rng.normal(size=mask.shape)
        contrasts[suffix] = torch.from_numpy(np.where(mask, values, 0.0).astype(np.float32))
        targets[suffix] = Target(contrasts[suffix], torch.from_numpy(mask), profile.delta())
    shown = torch.from_numpy(np.where(mask, labels, 0).astype(np.int64)) if labelled else None
    inside = torch.from_numpy(mask)
    return Scan(
        f"set/{subject}", f"set/{subject}", contrasts, targets, inside, inside, shown, 4.0,
        dict.fromkeys(suffixes, 1.0), split, f"{seed:016d}",
    )  # fmt: skip


def scans() -> tuple[list[Scan], list[Scan]]:
    """Two subjects with each contrast to train on, one with both to validate on."""
    train = [scan("a", ("T1w",), 1), scan("b", ("T1w",), 2)]
    train += [scan("c", ("T2w",), 3), scan("d", ("T2w",), 4)]
    return train, [scan("e", ("T1w", "T2w"), 5, "val")]


def learning(**more: Any) -> dict[str, Any]:
    usual = {
        "patch": 8,
        "min_subjects": 2,
        "labels": "tissues",
        "collapse": {},
        "segmenter": {"architecture": "unet", "arguments": {"channels": [4, 8]}},
    }
    return {**usual, **more}


def preset(method: str) -> Preset:
    """The method's, with a tiny network, and pools that are full soon."""
    given = PRESETS[method]
    losses = [{**one, "pool": 3} if one["name"] == "adversarial" else one for one in given.losses]
    return replace(given, arguments={"features": 2, "blocks": 1}, losses=losses)


def request(method: str, train: list[Scan], validation: list[Scan], **more: Any) -> Request:
    plan = Plan(steps=more.pop("steps", 2), batch=2, learning_rate=0.001, validate_every=2,
                precision=32, seed=1)  # fmt: skip
    given = {"contrasts": ("T1w",), "targets": ("T2w",), **more}
    return Request(
        given.pop("preset", preset(method)), given.pop("learning", learning()), train, validation,
        given["contrasts"], given["targets"], plan, "identity",
    )  # fmt: skip


def write_folder(folder: Path) -> None:
    """The subjects of :func:`scans` as images, masks and labels, and a table of the labels."""
    for one in [*scans()[0], *scans()[1]]:
        name = f"sub-{one.subject.removeprefix('set/')}"
        kinds = {f"_{suffix}": 400 * values for suffix, values in one.contrasts.items()}
        kinds["_mask"] = one.mask.to(torch.uint8)
        if "T1w" in one.contrasts and one.labels is not None:
            kinds["_dseg"] = one.labels.to(torch.uint8)
        for ending, values in kinds.items():
            image = sitk.GetImageFromArray(values.numpy())
            image.SetSpacing((4.0,) * 3)
            images.write_image(image, folder / f"{name}{ending}.nii.gz")
    rows = [
        {"index": k, "name": n, "color": "#808080"} for k, n in enumerate(("CSF", "GM", "WM"), 1)
    ]
    files.write_tsv(folder / "table_dseg.tsv", ("index", "name", "color"), rows)


def configuration(folder: Path, method: str) -> dict[str, Any]:
    """For ``voxelway train synthesize`` on :func:`write_folder`."""
    data = {
        "name": "made-up", "folder": str(folder), "licence": "none", "mask": "sub-*_mask.nii.gz",
        "labels": "sub-*_dseg.nii.gz", "validation": ["sub-e"], "paired": False,
        "files": {suffix: f"sub-*_{suffix}.nii.gz" for suffix in VALUES},
    }  # fmt: skip
    learning = {
        "data": [data], "sources": ["T1w"], "spacing": 4.0, "patch": 8,
        "labels": str(folder / "table_dseg.tsv"),
        "segmenter": {"architecture": "unet", "arguments": {"channels": [4, 8]}},
        "losses": [dict(one) for one in preset(method).losses],
    }  # fmt: skip
    training = {"steps": 2, "batch": 1, "validate_every": 2, "precision": 32}
    section = {"method": method, "targets": ["T2w"], "learning": learning, "training": training,
               "network": {"arguments": {"features": 2, "blocks": 1}}}  # fmt: skip
    return {"seed": 1, "synthesize": section}
