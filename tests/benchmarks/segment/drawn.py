"""A cascade on label maps that were kept out of its training, drawn in known contrasts.

``python -m tests.benchmarks.segment.drawn --config config/training/segment-brain.yaml`` draws whole
heads at the maps' own spacing, labels them with the bundle, and prints Dice, the share of the
errors that the most uncertain voxels hold, how often a volume's interval holds the true volume,
seconds and memory; ``--window`` adds the same for the last level over the whole head, and the
seconds of one sliding window of its network over the whole head at the image's own resolution.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline import config, files, images, threads
from pipeline import labels as tables
from pipeline.segment import heads
from pipeline.segment.cascade import volume, window
from pipeline.segment.cascade.method import Structures
from pipeline.segment.case import Output
from pipeline.segment.learning import cases as reading
from pipeline.segment.learning.cases import Case, Source
from pipeline.segment.learning.contrast import Contrasts
from pipeline.segment.learning.scene import Scene, Variety
from pipeline.segment.train import contrasts_of
from pipeline.training.bundle import Score
from tests.benchmarks import meter

COLUMNS = ("case", "contrast", "method", "measure", "value")
Row = dict[str, Any]


def held_out(section: Mapping[str, Any]) -> list[Case]:
    """Cases that the training configuration keeps out."""
    found = []
    for entry in section["learning"]["data"]:
        source = Source.of(entry)
        kept = source.held_out
        whole = replace(source, held_out=())
        known = [label.index for label in tables.known(str(section["learning"]["labels"]))]
        found += [
            case
            for case in reading.read([whole], known)
            if reading.matches(case.name.rpartition("/")[2], kept)
        ]
    return found


def draw(case: Case, contrasts: Contrasts, seed: int, learned: Sequence[int]) -> sitk.Image:
    """Whole head on the grid of the label map."""
    rng = np.random.default_rng(seed)
    known = np.asarray(learned, np.int64)
    scene = Scene(case, rng, Variety.ordinary(), contrasts, np.arange(contrasts.highest + 1), known)
    return images.like(scene.image(case.labels, rng)[0], case.labels)


def measures(
    found: sitk.Image, entropy: sitk.Image, truth: sitk.Image, names: Mapping[int, str],
    learned: Sequence[int], box: Mapping[str, Sequence[int]],
) -> Iterator[tuple[str, float]]:  # fmt: skip
    """Dice of each structure, and the share of errors in the tenth that is most uncertain.

    Every label that was learned can be an error, those that no Dice is told of too. The tenth is of
    the voxels in ``box``, which the last level looked at.
    """
    ours, theirs = (sitk.GetArrayFromImage(one).astype(np.int64) for one in (found, truth))
    theirs = np.where(np.isin(theirs, learned), theirs, 0)
    for label, name in names.items():
        size = np.count_nonzero(theirs == label)
        if size:
            both = np.count_nonzero((ours == label) & (theirs == label))
            yield f"Dice of {name}", 2.0 * both / (np.count_nonzero(ours == label) + size)
    unsure = images.array(entropy)
    part = tuple(
        slice(first, first + count)
        for first, count in reversed(list(zip(box["Index"], box["Size"], strict=True)))
    )
    unsure, wrong = unsure[part], (ours != theirs)[part]
    edge = np.quantile(unsure, 0.9)
    yield (
        "errors in the most uncertain tenth",
        float((wrong & (unsure >= edge)).sum() / wrong.sum()),
    )


def intervals(rows: Sequence[Mapping[str, Any]], truth: sitk.Image) -> Iterator[tuple[str, float]]:
    """Share of the volumes whose interval holds the true one, and half its width, as median."""
    values = sitk.GetArrayFromImage(truth).astype(np.int64)
    true = np.bincount(values.ravel()) * float(np.prod(truth.GetSpacing()))
    held, half = [], []
    for row in rows:
        volume = float(true[int(row["label"])])
        held.append(float(row["low"]) <= volume <= float(row["high"]))
        half.append((float(row["high"]) - float(row["low"])) / 2.0 / max(float(row["mm3"]), 1.0))
    yield "volumes inside their interval", float(np.mean(held))
    yield "half an interval, share of the volume", float(np.median(half))


def uncropped(method: Structures) -> Structures:
    """The same model, its last level on the whole head."""
    found, cascade = copy.copy(method), copy.copy(method.cascade)
    levels = cascade.plan.levels
    cascade.plan = replace(cascade.plan, levels=(*levels[:-1], replace(levels[-1], crop=())))
    found.cascade = cascade
    return found


def full_window(method: Structures, image: sitk.Image) -> float:
    """Seconds of one sliding window of the last network at the image's spacing.

    The context channels, which such a window has no coarse level for, are empty: only its time can
    be compared.
    """
    cascade = method.cascade
    level = cascade.plan.levels[-1]
    network = cascade.networks[level.networks[0]]
    start = time.perf_counter()
    values = images.array(volume.canonical(image))
    scale = volume.first_scale(values, cascade.plan.intensity)
    inputs = cascade.plan.inputs(len(cascade.plan.levels) - 1)
    channels = np.zeros((inputs, *values.shape), np.float32)
    channels[0] = scale(values)
    route = window.way(values.shape, level.patch[::-1], window.divisor(network), 0.5)
    scores = window.logits(network, torch.from_numpy(channels)[None], route, cascade.device)
    scores[0].argmax(dim=0)
    return time.perf_counter() - start


def run(options: argparse.Namespace) -> list[Row]:
    """All cases and contrasts."""
    section = config.section("segment", config.read(options.config)["segment"])
    inference = {**config.section("segment", {"method": "cascade"}), "seed": 0}
    if options.mirror:
        inference["cascade"] = {**inference["cascade"], "mirror": True}
    method = Structures(options.model, inference)
    chosen = tables.known(str(section["learning"]["labels"]))
    names = {label.index: label.name for label in chosen if label.name != "CSF"}
    rows: list[Row] = []
    for number, case in enumerate(held_out(section)):
        for contrast in options.contrasts:
            contrasts = contrasts_of(section["learning"], chosen, {contrast: 1.0})
            image = draw(case, contrasts, 100 * number + options.seed, list(names))
            if options.keep:
                path = options.keep / f"{case.name.rpartition('/')[2]}_{contrast}.nii.gz"
                images.write_image(image, path)
            output, seconds = meter.timed(partial(_labelled, method, image, case.name))
            row = {"case": case.name, "contrast": contrast, "method": "cascade"}
            learned = [label.index for label in chosen]
            rows += _rows(row, output, case, names, learned, seconds)
            if options.keep:
                images.write_image(output.labels, path.with_name(f"labels_{path.name}"))
            if options.window:
                row["method"] = "uncropped"
                output, seconds = meter.timed(
                    partial(_labelled, uncropped(method), image, case.name)
                )
                rows += _rows(row, output, case, names, learned, seconds)
                row["method"] = "window"
                rows.append({**row, "measure": "seconds", "value": full_window(method, image)})
            _say(rows, row)
    return rows


def _labelled(method: Structures, image: sitk.Image, where: str) -> Output:
    """As a file is labelled; the brain mask is part of it."""
    mask = heads.brain_of(image)[0] if method.masked else None
    return method([image], where, mask)


def _rows(
    row: Row, output: Output, case: Case, names: Mapping[int, str], learned: Sequence[int],
    seconds: float,
) -> list[Row]:  # fmt: skip
    found = measures(
        output.labels, output.entropy, case.labels, names, learned, output.facts["Box"]
    )
    values = dict(found)
    values |= dict(intervals(output.volumes, case.labels))
    dice = [value for name, value in values.items() if name.startswith("Dice")]
    values |= {"mean Dice": float(np.mean(dice)), "seconds": seconds, "peak MB": meter.peak_mb()}
    return [{**row, "measure": key, "value": value} for key, value in values.items()]


def _say(rows: Sequence[Row], row: Row) -> None:
    told = {
        f"{item['method']} {item['measure']}": f"{item['value']:.4g}"
        for item in rows
        if item["case"] == row["case"]
        and item["contrast"] == row["contrast"]
        and not item["measure"].startswith("Dice")
    }
    print(row["case"], row["contrast"], told, flush=True)


def table(rows: Sequence[Row]) -> str:
    """Means with their 95 % interval over cases: cases are averaged over contrasts first."""
    lines = ["| contrast | measure | mean (95 % interval) | cases |", "| --- | --- | --- | --- |"]
    wanted = sorted({row["measure"] for row in rows}, key=lambda name: (name[:4] == "Dice", name))
    for contrast in (*sorted({row["contrast"] for row in rows}), "all"):
        for measure in wanted:
            if contrast != "all" and measure.startswith("Dice"):
                continue
            for method in ("cascade", "uncropped", "window"):
                score = _score(rows, contrast, measure, method)
                if score is not None:
                    name = measure if method == "cascade" else f"{measure}, {method}"
                    span = "" if score.low is None else f" ({score.low:.4g} to {score.high:.4g})"
                    lines.append(
                        f"| {contrast} | {name} | {score.mean:.4g}{span} | {score.cases} |"
                    )
    return "\n".join(lines)


def _score(rows: Sequence[Row], contrast: str, measure: str, method: str) -> Score | None:
    by_case: dict[str, list[float]] = {}
    for row in rows:
        fits = row["measure"] == measure and row["method"] == method
        if fits and contrast in (row["contrast"], "all"):
            by_case.setdefault(row["case"], []).append(float(row["value"]))
    return Score.of([float(np.mean(one)) for one in by_case.values()]) if by_case else None


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="of the training")
    parser.add_argument("--model", type=Path, default=Path("pipeline/bundles/segment/brain"))
    parser.add_argument("--contrasts", nargs="+", default=["T1w", "T2w", "FLAIR"])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mirror", action="store_true", help="label mirrored images too")
    parser.add_argument("--window", action="store_true", help="beside windows over all of it")
    parser.add_argument("--keep", type=Path, help="folder for the images and labels")
    parser.add_argument("--out", type=Path, default=Path("build/bench-segment-drawn.tsv"))
    options = parser.parse_args()
    threads.announce()
    meter.pin(options.cores)
    threads.use_threads()
    rows = run(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    files.write_tsv(options.out, COLUMNS, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
