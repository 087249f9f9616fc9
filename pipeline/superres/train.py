"""``voxelway train superres``: a super-resolution network, on a cohort and on folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline import networks
from pipeline.errors import Exit, VoxelwayError
from pipeline.fingerprint import code_fingerprint
from pipeline.models import training_folder
from pipeline.restore import cohort, volumes
from pipeline.restore.volumes import Source, Volume
from pipeline.superres.learning import kinds
from pipeline.superres.learning.kinds import Sides
from pipeline.superres.learning.recipe import CRITIC, NAME, SuperresRecipe
from pipeline.superres.learning.thick import sharp_axes
from pipeline.training import bundle, data, gallery, judging
from pipeline.training.plan import Plan
from pipeline.training.start import Start
from pipeline.training.trainer import fit

MODULE = "pipeline.superres.train"


def train(params: Mapping[str, Any], out: Path, results: Path | None) -> int:
    """Train by section ``superres`` and write the bundle.

    Checkpoints and logs are in ``OUT.training`` beside it; the same command goes on from them.

    Args:
        params: section ``superres`` and the seed.
        out: folder of the bundle.
        results: results folder whose images with sharp planes, of the training split, are used
            beside ``learning.data``; or None.

    Raises:
        VoxelwayError: E-TRAIN-DATA for too few images, E-TRAIN-SPLIT, E-CONFIG-VALUE and those of
            :class:`pipeline.training.start.Start` and :func:`pipeline.training.trainer.fit`.
    """
    seed, learning = int(params.get("seed", 0)), params["learning"]
    plan = Plan.of(params["training"], seed)
    start = Start.of(NAME, learning["start"])
    chosen = kinds.kind_of(params["network"]["architecture"])
    sides = _sides(params, results)
    drawn, held = chosen.samples(sides, params)
    samples = data.SeededSamples(drawn, seed)
    held_out = data.SeededSamples(held, seed + 1, len(held))
    torch.manual_seed(seed)
    network = networks.build(params["network"]["architecture"], params["network"]["arguments"])
    critic = networks.build(CRITIC, {"inputs": 2}) if learning["adversarial"] > 0 else None
    code = code_fingerprint(MODULE)
    recipe = SuperresRecipe(
        network, learning["losses"], critic, float(learning["adversarial"]),
        _identity(params, sides, [code, start.digest]), relative=bool(learning["relative"]),
    )  # fmt: skip
    start.fill(recipe.networks[NAME], NAME)
    fitted = fit(recipe, samples, held_out, plan, training_folder(out))
    scores = judging.scores(recipe, fitted, held_out)
    about = _about(params, sides, scores, code, start.digest)
    bundle.write(out, fitted, recipe.metric, plan, about, gallery.of(recipe, fitted, held_out))
    return Exit.DONE


def _sides(params: Mapping[str, Any], results: Path | None) -> Sides:
    learning = params["learning"]
    sources = [Source.of(entry) for entry in learning["data"]]
    named = [one.name for one in sources if one.guide]
    if named and not int(params["network"]["arguments"].get("guides", 0)):
        what = f"learning.data names a guide for {named[0]}, and the network takes none"
        hint = "Give superres.network.arguments: {guides: 1}, or leave guide out"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
    share = float(learning["validation"])
    train_side, validation = volumes.read_sides(sources, share) if sources else ([], [])
    if results is not None:
        one, other = cohort.sides(results, "denoise", "denoised")
        train_side = train_side + [volume for volume in one if teaches(volume)]
        validation = validation + [volume for volume in other if teaches(volume)]
    volumes.check(train_side, validation)
    return train_side, validation


def teaches(volume: Volume) -> bool:
    """Whether two edges of the voxels are about equal and shortest: sharp planes at least."""
    return len(sharp_axes(volume)) > 1


def _identity(params: Mapping[str, Any], sides: Sides, origin: Sequence[str]) -> str:
    """Hash of what decides the weights beside the plan."""
    decisive = {key: params[key] for key in ("network", "learning")}
    decisive["learning"] = {k: v for k, v in decisive["learning"].items() if k != "data"}
    subjects = [[one.subject + one.digest for one in side] for side in sides]
    text = json.dumps([decisive, subjects, *origin], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _about(
    params: Mapping[str, Any],
    sides: Sides,
    scores: Mapping[str, bundle.Score],
    code: str,
    start: str,
) -> bundle.About:
    chosen, learning = params["network"], params["learning"]
    architecture, arguments = str(chosen["architecture"]), dict(chosen["arguments"])
    sets = {entry["name"]: entry["licence"] for entry in learning["data"]}
    both: Sequence[Volume] = (*sides[0], *sides[1])
    if any(one.subject.startswith(f"{cohort.NAME}/") for one in both):
        sets[cohort.NAME] = cohort.LICENCE
    counts = {
        "train": len({one.subject for one in sides[0]}),
        "val": len({one.subject for one in sides[1]}),
    }
    return bundle.About(
        stage=NAME,
        architectures={NAME: bundle.Architecture(architecture, arguments)},
        inputs={
            "contrasts": sorted({one.contrast for one in both}),
            "guide_contrasts": sorted(
                {entry["guide"] for entry in learning["data"] if "guide" in entry}
            ),
            "random_contrasts": float(learning["contrasts"]),
            "factors": list(learning["factors"]),
            "intensity": "robust range of the foreground at 1",
            "profiles": list(learning["profiles"]),
            **kinds.kind_of(architecture).inputs(params),
        },
        outputs={"image": "the sharp image, on the intensity scale of the input"},
        subjects=counts,
        data=[{"name": name, "licence": licence} for name, licence in sets.items()],
        code=code,
        start=start,
        scores=scores,
        title=f"Super-resolution of brain MR ({architecture})",
        purpose=(
            "isotropic voxels from thick slices of brain MR. Training pairs are simulated from "
            "sharp images through slice profiles; no pair was acquired."
        ),
        limits=(
            "lesions and other findings smaller than a slice is thick: what no slice shows can't "
            "come back",
            "motion between slices, slices of one image that lie askew",
            "other organs, CT",
        ),
    )
