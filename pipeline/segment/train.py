"""``voxelway train segment``: the plan of a cascade, then its networks, level by level."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline import labels as tables
from pipeline import networks
from pipeline.errors import Exit, VoxelwayError
from pipeline.fingerprint import code_fingerprint
from pipeline.labels import Label
from pipeline.models import training_folder
from pipeline.segment.cascade import calibration, prior
from pipeline.segment.cascade import plan as plans
from pipeline.segment.cascade.plan import CascadePlan
from pipeline.segment.learning import cases as reading
from pipeline.segment.learning import cohort, derive, generated, judge, tuning
from pipeline.segment.learning.atlas import Atlas
from pipeline.segment.learning.cases import Case
from pipeline.segment.learning.contrast import Contrasts
from pipeline.segment.learning.recipe import LevelRecipe
from pipeline.segment.learning.samples import Material, Patches, Wholes
from pipeline.segment.learning.scene import Variety
from pipeline.training import bundle, data, judging
from pipeline.training.bundle import Score
from pipeline.training.curve import as_csv
from pipeline.training.plan import Plan
from pipeline.training.start import Start
from pipeline.training.trainer import Fitted, fit

NAME = "segment"
MODULE = "pipeline.segment.train"
#: Fewest drawn scenes that the intervals of volumes are fitted on.
ORDINARY = 18

#: What the card says of the model; no weight depends on it.
ABOUT = ("title", "purpose", "limits")

Sides = list[tuple[list[Case], list[Case]]]


@dataclass
class _Trained:
    """Networks and what is known of them, as far as the training has come."""

    plan: CascadePlan
    networks: dict[str, nn.Module]
    fitted: dict[str, Fitted]
    scores: dict[str, list[float]]
    volumes: tuning.Volumes
    atlases: dict[str, Atlas] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    """What the trainings of all levels share."""

    learning: Mapping[str, Any]
    training: Mapping[str, Any]
    seed: int
    labels: tuple[Label, ...]
    sides: Sides
    folder: Path
    code: str
    start: Start


def train(params: Mapping[str, Any], out: Path, results: Path | None) -> int:
    """Train by section ``segment`` and write the bundle.

    Checkpoints, logs and plan.json are in ``OUT.training`` beside it; the same command goes on from
    them. A plan that is named in ``segment.learning.plan`` is taken but for the number of its
    members.

    Args:
        params: section ``segment`` and the seed.
        out: folder of the bundle.
        results: results folder whose training split is used, with the labels that
            ``segment.learning.cohort_labels`` names, beside ``learning.data``; or None.

    Raises:
        VoxelwayError: E-TRAIN-DATA, E-TRAIN-SPLIT, E-LABELS, E-IMG-GRID, E-CONFIG-VALUE, and
            those of :class:`pipeline.training.start.Start` and
            :func:`pipeline.training.trainer.fit`.
    """
    learning, seed = params["learning"], int(params.get("seed", 0))
    start = Start.of(NAME, learning["start"])
    labels = _labels(str(learning["labels"]))
    found = _cases(learning, labels, results)
    sides = reading.folds(found, int(learning["folds"]), float(learning["validation"]), seed)
    plan = _plan(learning, labels, found, int(params["training"]["batch"]))
    folder = training_folder(out)
    plan.write(folder / plans.FILE)
    code = code_fingerprint(MODULE)
    task = _Task(learning, params["training"], seed, labels, sides, folder, code, start)
    trained = _Trained(plan, {}, {}, {}, tuning.Volumes())
    for number in range(len(plan.levels)):
        _draw_atlas(task, trained, number)
        _train_level(task, trained, number)
    _write(out, task, trained, found)
    return Exit.DONE


def _labels(name: str) -> tuple[Label, ...]:
    """A table by its name, or a dseg.tsv; without the background."""
    found = tables.read(Path(name)) if name.endswith(".tsv") else tables.known(name)
    return tuple(label for label in found if label.index > 0)


def _cases(
    learning: Mapping[str, Any], labels: Sequence[Label], results: Path | None
) -> list[Case]:
    sources = [reading.Source.of(entry) for entry in learning["data"]]
    known = [label.index for label in labels]
    found = reading.read(sources, known)
    if results is not None and learning["cohort_labels"]:
        found += cohort.cases(results, str(learning["cohort_labels"]), known)
    if not found:
        what = "There are no cases to train on"
        hint = "Give segment.learning.data, or --results with segment.learning.cohort_labels"
        raise VoxelwayError("E-TRAIN-DATA", what, hint=hint)
    reading.check_present(found, known)
    return found


def _plan(
    learning: Mapping[str, Any], labels: Sequence[Label], found: Sequence[Case], batch: int
) -> CascadePlan:
    if learning["plan"]:
        given = plans.read(Path(str(learning["plan"])))
        count = derive.members(learning)
        levels = [replace(one, members=count, temperature=1.0) for one in given.levels]
        return replace(given, levels=tuple(levels))
    contrasts = tuple(learning["data"][0].get("images", {})) if learning["data"] else ()
    if not contrasts:
        contrasts = (cohort.ANCHOR,) if found[0].images else (plans.ANY,)
    return derive.derive(learning, labels, found, contrasts, batch)


def _draw_atlas(task: _Task, trained: _Trained, number: int) -> None:
    """The atlas of a level that has a prior, of all cases that any member is trained on."""
    level = trained.plan.levels[number]
    if level.prior is not None:
        cases = list({case.name: case for side, _ in task.sides for case in side}.values())
        learned = np.asarray([label.index for label in task.labels], np.int64)
        before = trained.plan.levels[number - 1]
        trained.atlases[level.name] = Atlas(cases, level, before, learned)


def _train_level(task: _Task, trained: _Trained, number: int) -> None:
    """Train the members of a level, then fit its temperature on what they did not see.

    The last level's volumes on ordinary scenes tell how wide their intervals have to be.
    """
    level = trained.plan.levels[number]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    folds: dict[int, tuple[LevelRecipe, data.SeededSamples]] = {}
    for member in range(level.members):
        name = f"{level.name}.{member}"
        recipe, samples, plan = _member(task, trained, number, member)
        fitted = fit(recipe, *samples, plan, task.folder / name)
        judging.use(recipe, fitted)
        trained.networks[name] = recipe.networks[name]
        trained.fitted[name] = fitted
        seen += tuning.logits(recipe.networks[name], level, samples[1])
        folds.setdefault(member % len(task.sides), (recipe, samples[1]))
    scores, truth = (torch.cat(one).numpy() for one in zip(*seen, strict=True))
    temperature = calibration.fit_temperature(scores.T, truth)
    levels = list(trained.plan.levels)
    levels[number] = replace(level, temperature=round(float(temperature), 4))
    trained.plan = replace(trained.plan, levels=tuple(levels))
    trained.plan.write(task.folder / plans.FILE)
    for fold, (recipe, held_out) in folds.items():
        # the networks that have not seen these cases, as inference takes their mean
        own = {name: trained.networks[name] for name in level.networks[fold :: len(task.sides)]}
        recipe.level = levels[number]
        for key, values in judging.over(own, held_out, judge.of(recipe, task.labels)).items():
            trained.scores.setdefault(f"{level.name}: Dice of {key}", []).extend(values)
    if number == len(levels) - 1:
        for member, name in enumerate(level.networks):
            trained.volumes.add(
                trained.networks[name], levels[number], _ordinary(task, trained, number, member),
                trained.plan.appearance, len(trained.plan.contrasts),
            )  # fmt: skip


def _member(
    task: _Task, trained: _Trained, number: int, member: int
) -> tuple[LevelRecipe, tuple[data.SeededSamples, data.SeededSamples], Plan]:
    """Recipe, samples and plan of one network."""
    level, learning = trained.plan.levels[number], task.learning
    entry = learning["levels"][number] if number < len(learning["levels"]) else {}
    section = {**task.training, **entry.get("training", {})}
    plan = Plan.of(section, task.seed + 1000 * number + member)
    side = task.sides[member % len(task.sides)]
    material, variety = _material(task, trained, number, member), generated.variety(learning)
    made = generated.cases(learning, side, [label.index for label in task.labels], plan.seed)
    drawn = Patches(
        material, side[0], variety, int(learning["repeats"]), plan.seed,
        made, float(learning["augmentation_share"]),
    )  # fmt: skip
    held_out = _wholes(task, material, member, variety, plan.seed + 1)
    samples = data.SeededSamples(drawn, plan.seed), held_out
    torch.manual_seed(plan.seed)
    network = networks.build(level.architecture, level.arguments)
    name = f"{level.name}.{member}"
    # the first member stands in for one that the bundle lacks
    task.start.fill(network, name, f"{level.name}.0")
    if level.name in trained.atlases:
        prior.give(network, trained.atlases[level.name].shares)
    identity = _identity(task, trained, number, side, task.start.digest + generated.digest(made))
    names = [_name(group, task.labels, level.regions) for group in level.classes]
    recipe = LevelRecipe(
        name, level, network, learning["losses"], names, learning["freeze"], identity
    )
    return recipe, samples, plan


def _ordinary(task: _Task, trained: _Trained, number: int, member: int) -> data.SeededSamples:
    """Validation cases of a member as a common scanner shows them; images are as they are.

    Drawn ones have a contrast that the configuration names, if it names one: what random contrasts
    hide is no scan's fault.
    """
    material, least = _material(task, trained, number, member), 0
    if material.contrasts is not None:
        least = ORDINARY
        material = replace(material, contrasts=material.contrasts.named())
    seed = task.seed + 1000 * number + 500 + member
    return _wholes(task, material, member, Variety.ordinary(), seed, least)


def _wholes(
    task: _Task, material: Material, member: int, variety: Variety, seed: int, least: int = 0
) -> data.SeededSamples:
    """Whole validation cases of a member."""
    cases = task.sides[member % len(task.sides)][1]
    count = max(least, int(task.learning["validation_samples"]) or len(cases))
    return data.SeededSamples(Wholes(material, cases, variety, count, seed), seed, count)


def _material(task: _Task, trained: _Trained, number: int, member: int) -> Material:
    plan = trained.plan
    # members of the levels before that were trained on this member's validation cases stay out
    upstream = {
        name: network
        for name, network in trained.networks.items()
        if name.rpartition(".")[2] == str(member)
    }
    contrasts = contrasts_of(task.learning, task.labels, task.learning["draw"]["shares"])
    pairs = np.arange(contrasts.highest + 1)
    for label in task.labels:
        if label.pair is not None:
            pairs[label.index] = label.pair
    drawn = contrasts if plan.any_contrast else None
    return Material(plan, number, upstream, drawn, pairs, trained.atlases)


def contrasts_of(
    learning: Mapping[str, Any], labels: Sequence[Label], shares: Mapping[str, float]
) -> Contrasts:
    """Contrasts of ``segment.learning.draw`` in these shares."""
    draw = learning["draw"]
    typical = {
        name: {int(key): float(value) for key, value in means.items()}
        for name, means in draw["typical"].items()
    }
    seen = [key for means in typical.values() for key in means]
    highest = max([*(label.index for label in labels), *seen, int(draw["highest"])])
    return Contrasts(highest, _groups(labels), _tissues(labels), typical, shares)


def _groups(labels: Sequence[Label]) -> list[list[int]]:
    """Both sides of each structure."""
    return [[one.index, one.pair] for one in labels if one.pair and one.index < one.pair]


def _tissues(labels: Sequence[Label]) -> list[list[int]]:
    """Structures of each tissue."""
    names = sorted({label.tissue for label in labels if label.tissue})
    return [[label.index for label in labels if label.tissue == name] for name in names]


def _name(group: Sequence[int], labels: Sequence[Label], region: bool) -> str:
    """Of an output channel: its label's, without the side where it holds both."""
    name = next(label.name for label in labels if label.index == group[0])
    if len(group) == 1:
        return name
    return f"the region of {name}" if region else name.removeprefix("Left-")


def _identity(
    task: _Task, trained: _Trained, number: int, side: tuple[list[Case], list[Case]], start: str
) -> str:
    """Hash of what decides the weights of a network beside the plan of its training."""
    aside = (
        "data", "plan", "levels", "cohort_labels", "networks", "members", "half", "appearance",
        "augmentation_models", "augmentation_scans", *ABOUT,
    )  # fmt: skip
    decisive = {key: value for key, value in task.learning.items() if key not in aside}
    # members of one level know nothing of each other: folds can be trained in any order
    earlier = [name for level in trained.plan.levels[:number] for name in level.networks]
    before = [[name, trained.fitted[name].step, trained.fitted[name].score] for name in earlier]
    planned = trained.plan.as_json()
    # how many networks there will be decides none of them, and planes come after them
    aside_too = {"members": 0, "planes": ()}
    levels = [{**level, **aside_too} for level in planned["levels"][: number + 1]]
    content = [
        decisive, levels, planned["intensity"], [label.row() for label in task.labels], before,
        [[(case.name, case.digest) for case in one] for one in side], start, task.code,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write(out: Path, task: _Task, trained: _Trained, found: Sequence[Case]) -> None:
    every = list(trained.fitted)
    seconds = sum(fitted.seconds for fitted in trained.fitted.values())
    kept = int(task.learning["members"]) or derive.members(task.learning)
    trained.plan = replace(
        trained.plan,
        levels=tuple(replace(one, members=min(one.members, kept)) for one in trained.plan.levels),
    )
    names = [name for level in trained.plan.levels for name in level.networks]
    kind = np.float16 if task.learning["half"] else np.float32
    weights = {
        name: {
            # the atlas of a level is of whole numbers
            key: value.astype(kind) if np.issubdtype(value.dtype, np.floating) else value
            for key, value in trained.fitted[name].weights[name].items()
        }
        for name in names
    }
    last = trained.fitted[trained.plan.levels[-1].networks[0]]
    whole = dataclasses.replace(last, weights=weights, seconds=round(seconds, 1))
    extras = {
        f"training_{name}.csv": as_csv(trained.fitted[name].history).encode() for name in every
    }
    extras[plans.FILE] = json.dumps(trained.plan.as_json(), indent=2).encode()
    plan = Plan.of(task.training, task.seed)
    bundle.write(out, whole, LevelRecipe.metric, plan, _about(task, trained, found), extras)


def _about(task: _Task, trained: _Trained, found: Sequence[Case]) -> bundle.About:
    plan = trained.plan
    scores = {name: Score.of(values) for name, values in trained.scores.items()}
    architectures = {
        name: bundle.Architecture(level.architecture, dict(level.arguments))
        for level in plan.levels
        for name in level.networks
    }
    more = task.learning["augmentation_scans"] if generated.bundles(task.learning) else []
    sets = {entry["name"]: entry["licence"] for entry in [*task.learning["data"], *more]}
    if any(case.name.startswith(cohort.NAME + "/") for case in found):
        sets[cohort.NAME] = cohort.LICENCE
    count = len(found)
    kept = len({case.name for _, side in task.sides for case in side})
    return bundle.About(
        stage=NAME,
        architectures=architectures,
        inputs={"contrasts": list(plan.contrasts), "plan": plan.as_json()},
        outputs={"labels": [label.row() for label in task.labels]},
        subjects={"train": count if len(task.sides) > 1 else count - kept, "val": kept},
        data=[{"name": name, "licence": licence} for name, licence in sets.items()],
        code=task.code,
        start=task.start.digest,
        scores=scores,
        title=f"Segmentation of {task.learning['title']}",
        purpose=str(task.learning["purpose"]),
        limits=[str(item) for item in task.learning["limits"]],
        calibration={"interval_factor": round(trained.volumes.factor(), 4)},
    )
