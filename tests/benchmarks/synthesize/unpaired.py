"""Unpaired synthesis and joint segmentation on the phantom, on subjects that are kept out.

``make bench-unpaired [STEPS=400]``. Half of the training subjects have the source contrast with
labels, the others the target contrast without. A training that was cut goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import files, labels, networks
from pipeline.errors import Exit, VoxelwayError
from pipeline.synthesize.judging import card, features, realism
from pipeline.synthesize.judging.features import Picture
from pipeline.synthesize.learning import synseg, unpaired
from pipeline.synthesize.learning.cases import Scan
from pipeline.synthesize.learning.cycle import NAME
from pipeline.synthesize.learning.job import Request
from pipeline.synthesize.learning.presets import PRESETS
from pipeline.synthesize.learning.synseg import SEGMENTER, Joint
from pipeline.synthesize.learning.unpaired import against
from pipeline.synthesize.learning.unpaired_draw import Unpaired
from pipeline.training import judging
from pipeline.training.bundle import Score
from pipeline.training.data import SeededSamples
from pipeline.training.plan import Plan
from pipeline.training.recipe import Networks, Player
from pipeline.training.trainer import fit
from tests.benchmarks.synthesize import unpaired_data
from tests.benchmarks.synthesize.unpaired_data import Data

METHODS = ("cyclegan", "gradient_cyclegan", "synseg")
COLUMNS = ("kind", "method", "case", "measure", "value")
#: Edge of the patches, voxels; networks small enough for a processor.
PATCH = 24
GENERATOR = {"features": 8, "blocks": 3}
CHANNELS = [8, 16, 32]
UNET = {"architecture": "unet", "arguments": {"channels": CHANNELS}}

Row = dict[str, Any]
Make = Callable[[Tensor], Tensor]


def main(argv: Sequence[str] | None = None) -> Exit:
    """Run, write the long table, print the means."""
    options = _arguments(argv)
    source, target = options.source, options.target
    work = options.out.parent / "bench-unpaired"
    data = unpaired_data.read(work / "data", source, target)
    table = unpaired_data.write_table(work / "labels_dseg.tsv", labels.known("tissues"))
    asked = {"labels": str(table), "patch": PATCH, "min_subjects": 2, "collapse": {},
             "segmenter": UNET}  # fmt: skip
    rows: list[Row] = []
    seconds: dict[str, float] = {}

    def keep(found: Sequence[Row]) -> None:
        rows.extend(found)
        files.write_tsv(options.out, COLUMNS, rows)

    judge = Judge(data, source, target, options.seed, work / f"{target}-encoder")
    keep(judge.images("source itself", lambda image: image))
    keep(judge.images("histogram matching", judge.matched))
    for method in options.methods.split(","):
        begun = time.monotonic()
        request = _request(method, data, asked, options)
        module = synseg if method == "synseg" else unpaired
        job = module.prepare(request)
        folder = work / f"{source}-{target}-{options.steps}-{options.seed}" / method
        fitted = fit(job.recipe, job.samples, job.validation, request.plan, folder)
        judging.use(job.recipe, fitted)
        seconds[method] = time.monotonic() - begun
        keep(judge.images(method, translation(job.recipe.networks[NAME])))
        if method == "synseg":
            keep(segmenters(job.recipe, data, asked, options, folder.parent))
    print(head(options, data, seconds))
    print(table_of(rows))
    return Exit.DONE


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-unpaired", description=__doc__)
    parser.add_argument("--source", default="T1w")
    parser.add_argument("--target", default="T2w")
    parser.add_argument("--steps", type=int, default=400, help="of each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--out", type=Path, default=Path("build/bench-unpaired.tsv"))
    found = parser.parse_args(argv)
    if found.steps < 1 or set(found.methods.split(",")) - set(METHODS):
        raise VoxelwayError("E-USAGE", f"steps 1 or more, methods of {', '.join(METHODS)}")
    return found


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        options.steps, 2, 0.001, warmup=20, validate_every=max(1, options.steps // 8),
        precision="bf16", clip=1.0, seed=options.seed,
    )  # fmt: skip


def _request(
    method: str, data: Data, asked: Mapping[str, Any], options: argparse.Namespace
) -> Request:
    from dataclasses import replace

    preset = replace(PRESETS[method], arguments=GENERATOR)
    return Request(
        preset, asked, [*data.source, *data.target], data.validation, (options.source,),
        (options.target,), _plan(options), f"bench {method}",
    )  # fmt: skip


def translation(network: nn.Module) -> Make:
    """A function of (1, 1, Z, Y, X) in medians of the brain."""

    @torch.no_grad()
    def make(image: Tensor) -> Tensor:
        found: Tensor = network(image, torch.ones(1, 1))[-1][:, :1]
        return found

    return make


class Judge:
    """Compares made contrasts of the test subjects with what they are without noise."""

    def __init__(self, data: Data, source: str, target: str, seed: int, folder: Path) -> None:
        self.data, self.source, self.target, self.seed = data, source, target, seed
        learned = card.pictures(data.target, target)
        self.encoder = features.learn(learned, card.SIDE, card.STEPS, seed, folder, "bench")
        own = [s.contrasts[target].numpy()[s.mask.numpy()] for s in data.target]
        self.shares = np.linspace(0.0, 1.0, 201)
        self.quantiles = np.mean([np.quantile(one, self.shares) for one in own], axis=0)

    def matched(self, image: Tensor) -> Tensor:
        """The image with the distribution of the target in the training subjects' brains."""
        values = image.numpy()
        places = np.quantile(values[values > 0], self.shares)
        mapped = np.interp(values, places, self.quantiles)
        return torch.from_numpy(np.where(values > 0, mapped, 0.0).astype(np.float32))

    def images(self, method: str, make: Make) -> list[Row]:
        """Rows of every test subject, and of how real all look together."""
        rows, made = [], []
        for scan, truth in zip(self.data.test, self.data.truth, strict=True):
            inside = scan.mask[None, None].float()
            image = make(scan.contrasts[self.source][None, None]) * inside
            wanted = truth.contrasts[self.target][None, None] * inside
            made.append(Picture(scan.subject, image[0, 0].numpy(), scan.mask.numpy()))
            found = against(image, wanted, inside)
            rows += [_row("image", method, scan.name, *item) for item in found.items()]
        real = [
            Picture(s.subject, (s.contrasts[self.target] * s.mask).numpy(), s.mask.numpy())
            for s in self.data.test
        ]
        looks = realism.judge(real, made, self.encoder, side=card.SIDE, seed=self.seed)
        told = [(name, score.mean) for name, score in looks.scores().items()]
        return [*rows, *(_row("realism", method, "all", *item) for item in told)]


class Plain:
    """Recipe: a segmenter on acquired images, with their own labels."""

    metric: str = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(self, joint: Joint, range_: tuple[float, float], identity: str) -> None:
        torch.manual_seed(0)
        outputs = len(unpaired_data.LABELS) + 1
        arguments = {"channels": CHANNELS, "inputs": 1, "outputs": outputs}
        self.networks: dict[str, nn.Module] = {SEGMENTER: networks.build("unet", arguments)}
        self.players = [Player(SEGMENTER, (SEGMENTER,), learning_rate=synseg.RATE)]
        self.joint, self.range, self.identity = joint, range_, identity

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Those of the joint training's segmenter."""
        low, high = self.range
        image = ((batch["source"] - low) / (high - low)).clamp(-0.5, 2.0)
        return self.joint.sum(networks[SEGMENTER](image), batch["source_classes"])

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """Loss of a validation patch."""
        return {"loss": float(self.losses(networks, SEGMENTER, batch)["loss"])}


def segmenters(
    joint: Joint, data: Data, asked: Mapping[str, Any], options: argparse.Namespace, folder: Path
) -> list[Row]:
    """Dice on acquired targets: trained through synthesis, on the source, on target labels."""
    source, target = options.source, options.target
    rows = dices("synseg", joint, joint.networks, data.test, target)
    trainings = {
        "labels of the source only": (data.source, source),
        "labels of the target (upper bound)": (data.target_labelled, target),
    }
    for name, (scans, suffix) in trainings.items():
        range_ = synseg.range_of(scans, suffix)
        recipe = Plain(joint, range_, f"bench {name}")
        lookup = np.arange(len(unpaired_data.LABELS) + 1)
        # the second contrast of the draw is not looked at
        drawn = Unpaired(scans, suffix, suffix, PATCH, lookup)
        samples = SeededSamples(drawn, options.seed)
        held = SeededSamples(drawn, options.seed + 1, 8)
        fitted = fit(recipe, samples, held, _plan(options), folder / name.split(" (")[0])
        judging.use(recipe, fitted)
        joint.range = synseg.range_of(data.target, target)
        rows += dices(name, joint, recipe.networks, data.test, target)
    return rows


def dices(
    name: str, joint: Joint, found: Networks, scans: Sequence[Scan], suffix: str
) -> list[Row]:
    """Dice of each tissue in each test subject's acquired target."""
    rows = []
    for scan in scans:
        assert scan.labels is not None
        with torch.no_grad():
            image = scan.contrasts[suffix][None, None]
            values = joint.dices(found, image, scan.labels[None])
        for number, value in values.items():
            label = unpaired_data.LABELS[number - 1]
            rows.append(_row("segmentation", name, scan.name, f"Dice {label}", value))
    return rows


def _row(kind: str, method: str, case: str, measure: str, value: float) -> Row:
    return dict(zip(COLUMNS, (kind, method, case, measure, round(float(value), 5)), strict=True))


def head(options: argparse.Namespace, data: Data, seconds: Mapping[str, float]) -> str:
    """What the numbers rest on."""
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    return (
        f"{options.source} to {options.target}, phantom at {unpaired_data.PHANTOM_MM:g} mm with "
        f"{100 * unpaired_data.NOISE:g} % noise; trained on {len(data.source)} subjects with "
        f"{options.source} and {len(data.target)} others with {options.target}, "
        f"{options.steps} steps of two patches of {PATCH} voxels ({spent}); tested on "
        f"{len(data.test)} subjects against their noise-free images. Mean (95 % interval).\n"
    )


def table_of(rows: Sequence[Row]) -> str:
    """A line a method and kind, a column a measure."""
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        measures = list(dict.fromkeys(row["measure"] for row in own))
        lines += [
            f"| {' | '.join([kind, *measures])} |",
            f"| {' | '.join(['---'] * (1 + len(measures)))} |",
        ]
        for method in dict.fromkeys(row["method"] for row in own):
            cells = [_cell([r["value"] for r in own if r["method"] == method and r["measure"] == m])
                     for m in measures]  # fmt: skip
            lines.append(f"| {' | '.join([method, *cells])} |")
        lines.append("")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    score = Score.of(values)
    if score.low is None:
        return f"{score.mean:.3g}"
    return f"{score.mean:.3f} ({score.low:.3f} to {score.high:.3f})"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VoxelwayError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit)
