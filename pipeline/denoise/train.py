"""``voxelway train denoise``: a denoising network, on images of a cohort and of folders."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline import networks
from pipeline.denoise.learning import mixture, presets, samples
from pipeline.denoise.learning.noise_only import BlindSpot, Consensus
from pipeline.denoise.learning.presets import Preset
from pipeline.denoise.learning.recipe import AUTOENCODER, CRITIC, NAME, Supervised
from pipeline.errors import Exit
from pipeline.fingerprint import code_fingerprint
from pipeline.models import training_folder
from pipeline.networks.patch_mixture import PatchMixture
from pipeline.restore import cohort
from pipeline.restore.volumes import Source, Volume, check, read_sides
from pipeline.training import bundle, data, gallery, judging
from pipeline.training.losses.adversary import CRITICS, Adversary
from pipeline.training.plan import Plan
from pipeline.training.start import Start
from pipeline.training.trainer import fit

MODULE = "pipeline.denoise.train"

AnyRecipe = Supervised | Consensus | BlindSpot


def train(params: Mapping[str, Any], out: Path, results: Path | None) -> int:
    """Train by section ``denoise`` and write the bundle.

    Checkpoints and logs are in ``OUT.training`` beside it; the same command goes on from them.

    Args:
        params: section ``denoise`` and the seed.
        out: folder of the bundle.
        results: results folder whose training split is used beside ``learning.data``; or None.

    Raises:
        VoxelwayError: E-METHOD for a method that is not trained, E-TRAIN-DATA for too few images,
            E-TRAIN-SPLIT, E-CONFIG-VALUE, and those of :class:`pipeline.training.start.Start` and
            :func:`pipeline.training.trainer.fit`.
    """
    preset = presets.chosen(params)
    plan = Plan.of(params["training"], int(params.get("seed", 0)))
    start = Start.of(NAME, params["learning"]["start"])
    sides = read(params["learning"], results)
    drawn, judged = samples.make(params["learning"], preset, sides, plan.seed)
    held_out = data.SeededSamples(judged, plan.seed + 1, judged.count)
    code = code_fingerprint(MODULE)
    identity = _identity(preset, params["learning"], sides, [code, start.digest])
    recipe = make_recipe(preset, plan.seed, identity)
    fill_priors(recipe.networks[NAME], sides[0], plan.seed)
    start.fill(recipe.networks[NAME], NAME)
    fitted = fit(recipe, drawn, held_out, plan, training_folder(out))
    scores = judging.scores(recipe, fitted, held_out, label=judged.label)
    about = _about(preset, params["learning"], sides, scores, code, start.digest)
    bundle.write(out, fitted, recipe.metric, plan, about, gallery.of(recipe, fitted, held_out))
    return Exit.DONE


def read(learning: Mapping[str, Any], results: Path | None) -> tuple[list[Volume], list[Volume]]:
    """Volumes to train on and to validate on."""
    window = samples.window_of(learning)
    sources = [Source.of(entry, window) for entry in learning["data"]]
    train_side, validation = _folders(sources, float(learning["validation"]))
    if results is not None:
        own = cohort.sides(results, "preprocess", "preproc", window)
        train_side, validation = train_side + own[0], validation + own[1]
    check(train_side, validation)
    return train_side, validation


def _folders(sources: Sequence[Source], share: float) -> tuple[list[Volume], list[Volume]]:
    return read_sides(sources, share) if sources else ([], [])


def make_recipe(preset: Preset, seed: int, identity: str) -> AnyRecipe:
    """Networks with fresh weights and what is asked of them; same seed, same weights.

    Raises:
        VoxelwayError: E-MODEL-INPUT for arguments that do not fit, E-CONFIG-VALUE for losses.
    """
    torch.manual_seed(seed)
    network = networks.build(preset.architecture, preset.arguments)
    if preset.objective == "consensus":
        return Consensus(network, identity)
    if preset.objective == "blind_spot":
        return BlindSpot(network, identity)
    others: dict[str, torch.nn.Module] = {}
    for entry in preset.losses:
        if entry["name"] == "adversarial":
            others[CRITIC] = networks.build(*CRITICS[Adversary.of(entry).kind])
        if entry["name"] == "perceptual":
            others[AUTOENCODER] = networks.build("autoencoder", {})
    return Supervised(network, preset.losses, others, identity)


def fill_priors(network: torch.nn.Module, volumes: Sequence[Volume], seed: int) -> None:
    """Learn the patch priors that a network rests on, before it is trained as a whole."""
    for part in network.modules():
        if isinstance(part, PatchMixture):
            part.fill(*mixture.learn(volumes, len(part.share), seed))


def _identity(
    preset: Preset,
    learning: Mapping[str, Any],
    sides: Sequence[Sequence[Volume]],
    origin: Sequence[str],
) -> str:
    """Hash of what decides the weights beside the plan."""
    decisive = {key: value for key, value in learning.items() if key != "data"}
    volumes = [[[item.subject, item.digest, item.weight] for item in side] for side in sides]
    content = [dataclasses.asdict(preset), decisive, volumes, *origin]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _about(
    preset: Preset,
    learning: Mapping[str, Any],
    sides: Sequence[Sequence[Volume]],
    scores: Mapping[str, bundle.Score],
    code: str,
    start: str,
) -> bundle.About:
    sets = {entry["name"]: entry["licence"] for entry in learning["data"]}
    if any(item.subject.startswith(cohort.NAME + "/") for side in sides for item in side):
        sets[cohort.NAME] = cohort.LICENCE
    people = [{item.subject for item in side} for side in sides]
    return bundle.About(
        stage=NAME,
        architectures={NAME: bundle.Architecture(preset.architecture, dict(preset.arguments))},
        inputs={
            "contrasts": sorted({item.contrast for side in sides for item in side}),
            "objective": preset.objective,
            "spacing_mm": "any; the network works in voxels",
            **_noise(learning),
        },
        outputs={"image": "without noise, same grid"},
        subjects={"train": len(people[0]), "val": len(people[1])},
        data=[{"name": name, "licence": licence} for name, licence in sets.items()],
        code=code,
        start=start,
        scores=scores,
        **_card(learning, preset),
    )


def _noise(learning: Mapping[str, Any]) -> dict[str, Any]:
    """What the network takes for noise, and the intensities that it was given."""
    noise = learning["noise"]
    found: dict[str, Any] = {
        "noise": "Rician and Gaussian, told as a level or a map",
        "largest_noise_percent": float(noise["largest"]),
        "intensity": "robust range (0.5th to 99.5th percentile of the brain) at 1",
    }
    if noise["kind"] == samples.LOW_DOSE_CT:
        found = {
            "noise": "of few photons, simulated from projections; told as a level or a map",
            "photons": list(noise["photons"]),
        }
    window = samples.window_of(learning)
    if window is not None:
        found |= {"window": list(window), "intensity": "window at 0 and 1, cut off beyond"}
    return found


def _card(learning: Mapping[str, Any], preset: Preset) -> dict[str, Any]:
    """Title, purpose and limits."""
    shared = "fine detail that is weaker than the noise is lost; look at the residual"
    if learning["noise"]["kind"] == samples.LOW_DOSE_CT:
        return {
            "title": f"Denoising of low-dose CT ({preset.architecture})",
            "purpose": "removing the noise of few photons from CT, in Hounsfield units.",
            "limits": (
                "noise was simulated (parallel beams, one energy, ramp filter and Hann window); no "
                "pair of doses was seen, and other kernels of reconstruction look different",
                "metal, photon starvation, motion: their streaks are taken for anatomy",
                shared,
            ),
        }
    return {
        "title": f"Denoising of brain MR ({preset.architecture})",
        "purpose": (
            "removing Rician or Gaussian noise of a known or estimated level from magnitude "
            "images of the head, skull-stripped or whole."
        ),
        "limits": (
            "noise whose neighbouring voxels are correlated (images that were interpolated or "
            "filtered before): it is taken for anatomy",
            "other organs, other modalities than MR",
            shared,
            "references that were acquired hold noise of their own: scores on them end where that "
            "noise begins",
        ),
    }
