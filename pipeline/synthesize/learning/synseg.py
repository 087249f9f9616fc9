"""Joint synthesis and segmentation: labels of one contrast train a segmenter of another.

Huo et al. 2019, SynSeg-Net, doi:10.1109/TMI.2018.2876633. Labelled sources are translated to the
target; a segmenter learns from the made images with the sources' labels, and what it fails at the
generator hears. No label of the target is seen. Afterwards acquired targets are segmented directly.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import labels as tables
from pipeline import networks
from pipeline.labels import Label
from pipeline.segment.cascade import volume
from pipeline.segment.cascade.plan import CascadePlan, Intensity, Level
from pipeline.synthesize.learning import unpaired, unpaired_draw
from pipeline.synthesize.learning.cases import Scan
from pipeline.synthesize.learning.cycle import GENERATORS, NAME, Cycle, Weights, make
from pipeline.synthesize.learning.job import Job, Request
from pipeline.synthesize.learning.unpaired_draw import Held, Unpaired, having, measured
from pipeline.training import bundle
from pipeline.training.bundle import Score
from pipeline.training.collapse import Limits
from pipeline.training.data import SeededSamples
from pipeline.training.losses import segmentation
from pipeline.training.recipe import Networks, Player
from pipeline.training.trainer import Fitted

SEGMENTER = "segmenter"
#: Name of the level and of its network in the segmenter's bundle.
LEVEL = "target"
#: Ending of the folder of the segmenter's bundle, beside that of the translation.
ENDING = ".segmenter"
#: Percentiles of an image that go to 0 and 1.
LOW, HIGH = 0.5, 99.5
#: Largest learning rate of the segmenter, which has no opponent and may go faster.
RATE = 0.003
LOSSES = ({"name": "dice", "weight": 1.0}, {"name": "cross_entropy", "weight": 1.0})


class Joint(Cycle):
    """A cycle with a segmenter of the target; batches also hold ``source_classes`` (B, Z, Y, X).

    Args:
        range_: what goes to 0 and 1 of a made target, medians of the brain.
        others: arguments of :class:`Cycle`.
    """

    def __init__(self, range_: tuple[float, float], **others: Any) -> None:
        super().__init__(**others)
        self.range = range_
        self.sum = segmentation.build(LOSSES)
        self.players.append(Player(SEGMENTER, (SEGMENTER,), learning_rate=RATE))

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        if player == SEGMENTER:
            with torch.no_grad():
                made = make(networks, NAME, batch["source"], batch["source_inside"])
            return self._segmented(networks, made, batch)
        if player != GENERATORS:
            return super().losses(networks, player, batch)
        found, made = self._generators(networks, batch)
        if self.weights.segmentation:
            value = self._segmented(networks, made, batch)["loss"]
            found["segmentation"] = value.detach()
            found["loss"] = found["loss"] + self.weights.segmentation * value
        return found

    def _segmented(self, networks: Networks, made: Tensor, batch: Any) -> dict[str, Tensor]:
        return self.sum(networks[SEGMENTER](self.scaled(made)), batch["source_classes"])

    def scaled(self, image: Tensor) -> Tensor:
        """As the cascade scales what it is given."""
        low, high = self.range
        return ((image - low) / (high - low)).clamp(-0.5, 2.0)

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """Those of the cycle, and the Dice of the segmenter on made targets."""
        found = super().scores(networks, batch)
        made = make(networks, NAME, batch["source"], batch["source_inside"])
        dices = self.dices(networks, made, batch["source_classes"])
        dice = float(np.mean(list(dices.values()))) if dices else 0.0
        # what the labels say decides with how the made images look
        return {**found, "mismatch": found["mismatch"] + 1.0 - dice, "dice_on_made": dice}

    def dices(self, networks: Networks, image: Tensor, classes: Tensor) -> dict[int, float]:
        """Dice of each class that the sample has; class -1 is not looked at."""
        network = self.networks[SEGMENTER]
        factor = [int(n) for n in network.divisor]  # type: ignore[union-attr]
        predicted = logits(networks[SEGMENTER], self.scaled(image), factor).argmax(dim=1)
        found = {}
        for number in torch.unique(classes[classes > 0]).tolist():
            ours, theirs = (predicted == number) & (classes >= 0), classes == number
            found[int(number)] = float(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
        return found


def logits(network: nn.Module, image: Tensor, factor: Sequence[int]) -> Tensor:
    """Logits (B, K, Z, Y, X) of a whole image, filled up to what the network divides by."""
    shape = image.shape[2:]
    missing = [-size % n for size, n in zip(shape, factor, strict=True)]
    pads = [n for size in reversed(missing) for n in (0, size)]
    found: Tensor = network(torch.nn.functional.pad(image, pads))[0]
    return found[:, :, : shape[0], : shape[1], : shape[2]]


def prepare(request: Request) -> Job:
    """A training of ``synseg``.

    Raises:
        VoxelwayError: as of :func:`pipeline.synthesize.learning.unpaired.prepare`, E-LABELS.
    """
    source, target = unpaired.contrasts(request)
    table = label_table(str(request.learning["labels"]))
    least = int(request.learning["min_subjects"])
    unpaired_draw.check(request.train, source, target, least, labelled=True)
    side, plan = int(request.learning["patch"]), request.plan
    level = level_of(request, table)
    lookup = volume.table(level.classes, highest(request, table))
    # where labels have sides a mirrored patch would need others
    mirror = all(label.pair is None for label in table)
    drawn = Unpaired(request.train, source, target, side, lookup, mirror)
    held = Held(request.validation, request.train, source, target, unpaired.EDGE, lookup)
    made = unpaired.players(request)
    made[SEGMENTER] = networks.build(level.architecture, level.arguments)
    recipe = Joint(
        range_of(having(request.train, target), target), networks=made,
        weights=Weights.of(request.preset.losses), patch=side,
        limits=Limits.of(request.learning["collapse"]),
        probe=unpaired_draw.probe(drawn, unpaired.PROBES, plan.seed), identity=request.identity,
    )  # fmt: skip
    return Job(
        recipe=recipe,
        samples=SeededSamples(drawn, plan.seed),
        validation=unpaired.held_samples(held, plan.seed),
        architectures={NAME: unpaired.architecture(request)},
        purpose=f"{target} from {source}, learned with a segmenter of {target}",
        judge=functools.partial(judge, recipe, table),
        limits=unpaired.LIMITS,
        after=functools.partial(write_segmenter, request, recipe, level, table),
    )


def label_table(name: str) -> tuple[Label, ...]:
    """A table by its name, or a dseg.tsv; without the background."""
    found = tables.read(Path(name)) if name.endswith(".tsv") else tables.known(name)
    return tuple(label for label in found if label.index > 0)


def highest(request: Request, table: Sequence[Label]) -> int:
    """Highest label of the table and of the scans."""
    seen = [
        int(s.labels.max()) for s in (*request.train, *request.validation) if s.labels is not None
    ]
    return max([label.index for label in table] + seen)


def level_of(request: Request, table: Sequence[Label]) -> Level:
    """The segmenter as the one level of a cascade."""
    side = int(request.learning["patch"])
    edge = float(request.train[0].spacing)
    arguments = {
        **request.learning["segmenter"]["arguments"],
        "inputs": 1,
        "outputs": len(table) + 1,
    }
    return Level(
        LEVEL,
        (edge,) * 3,
        (side,) * 3,
        tuple((label.index,) for label in table),
        architecture=str(request.learning["segmenter"]["architecture"]),
        arguments=arguments,
    )


def range_of(scans: Sequence[Scan], suffix: str) -> tuple[float, float]:
    """Mean percentiles of acquired targets inside their rim, medians of the brain."""
    values = [s.contrasts[suffix].numpy()[s.rim.numpy() & measured(s, suffix)] for s in scans]
    low, high = np.mean([np.percentile(one, [LOW, HIGH]) for one in values], axis=0)
    return float(low), float(high)


def judge(
    recipe: Joint, table: Sequence[Label], networks: Mapping[str, nn.Module], batch: Any
) -> dict[str, float]:
    """Measures for the card: of the translation, and the Dice on made and on acquired targets.

    The Dice on acquired targets is known where the validation subject has them, aligned with its
    labels; no training has seen these.
    """
    found = unpaired.judge(networks, batch)
    made = make(networks, NAME, batch["source"], batch["source_inside"])
    images = {"made": made} | ({"acquired": batch["truth"]} if "truth" in batch else {})
    for kind, image in images.items():
        for number, value in recipe.dices(networks, image, batch["source_classes"]).items():
            found[f"Dice on {kind} targets: {table[number - 1].name}"] = value
    return found


def write_segmenter(
    request: Request, recipe: Joint, level: Level, table: Sequence[Label],
    out: Path, fitted: Fitted, about: bundle.About, scores: Mapping[str, Score],
) -> None:  # fmt: skip
    """Write the segmenter as a bundle of its own, ``OUT.segmenter``.

    ``voxelway segment IN OUT --method cascade --model OUT.segmenter`` reads it.
    """
    target = request.targets[0]
    name = level.networks[0]
    rows = tuple(label.row() for label in table)
    plan = CascadePlan((target,), rows, (level,), Intensity("percentile", LOW, HIGH))
    renamed = {name: fitted.weights[SEGMENTER]}
    own = dataclasses.replace(
        about,
        stage="segment",
        architectures={name: bundle.Architecture(level.architecture, dict(level.arguments))},
        inputs={"contrasts": [target], "plan": plan.as_json()},
        outputs={"labels": list(rows)},
        scores={key: value for key, value in scores.items() if "Dice" in key},
        title=f"Segmentation of {target} that has seen no label of {target}",
        purpose=(
            f"labelling {target} of the brain, without what is around it (skull-stripped), where "
            f"labels exist of {request.contrasts[0]} only."
        ),
        limits=(
            "it has learned from made images: what the translation gets wrong it takes for anatomy",
            "whole heads: it was trained on brains with a rim of a few millimetres",
        ),
        calibration={},
    )
    whole = dataclasses.replace(fitted, weights=renamed)
    folder = out.with_name(out.name + ENDING)
    bundle.write(folder, whole, recipe.metric, request.plan, own)
