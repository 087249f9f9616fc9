"""``make bench-synthesize``: T1w to T2w by every paired method, on subjects that are kept out."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import config, files
from pipeline.errors import VoxelwayError
from pipeline.synthesize.learning.cases import Scan
from tests.benchmarks.register.table import mean_of
from tests.benchmarks.synthesize import cases, looks, methods, scores

BASE = "patch_regression"
#: Steps of the encoder whose features tell how real the images look.
ENCODER_STEPS = 300
ROW = ("case", "fold", "method", "psnr", "ssim", "ncc", "lesion", "dice", "train_s")
COLUMNS = (
    ("psnr", "PSNR, dB", ".2f"), ("ssim", "SSIM", ".3f"), ("ncc", "NCC", ".3f"),
    ("lesion", "lesion contrast, made / true", ".2f"), ("dice", "tissue Dice", ".3f"),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print the table."""
    options = _options(argv)
    torch.set_num_threads(options.cores)
    folder = (
        cases.real(options.data, options.work) if options.data
        else cases.phantom(options.work, options.subjects, options.spacing)
    )  # fmt: skip
    rows = []
    made: looks.Made = {}
    for row in run(folder, options, made):
        rows.append(row)
        files.write_tsv(options.out, ROW, rows)
        print(_progress(row), file=sys.stderr, flush=True)
    print(table(rows, options))
    if made:
        scans = cases.read(folder, options.spacing)
        print("\n" + looks.table(made, scans, options.work, ENCODER_STEPS))
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-synthesize", description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder with sub-*_T1w and sub-*_T2w; else phantom"
    )
    parser.add_argument("--subjects", type=int, default=8, help="of the phantom")
    parser.add_argument(
        "--spacing", type=float, default=2.0, help="mm, of the phantom and the grid"
    )
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--methods", default="histogram,patch_regression,encoder_decoder,pix2pix")
    parser.add_argument("--steps", type=int, default=2000, help="of the networks")
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "32"))
    parser.add_argument("--segment", type=int, default=1000, help="cases to label; 0 labels none")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("build/bench-synthesize"))
    parser.add_argument("--out", type=Path, default=Path("build/bench-synthesize.tsv"))
    return parser.parse_args(argv)


def run(
    folder: Path, options: argparse.Namespace, kept_images: looks.Made
) -> Iterator[dict[str, Any]]:
    """Rows of all folds, methods and cases; what was made is put into ``kept_images``."""
    seen, true = (cases.read(folder, options.spacing, true=flag) for flag in (False, True))
    # in a drawn order: subjects with a lesion may alternate with those without
    names = [sorted(seen)[k] for k in np.random.default_rng(0).permutation(len(seen))]
    if options.folds < 2 or len(names) < options.folds + 2:
        what = f"{len(names)} subjects in {options.folds} folds"
        raise VoxelwayError("E-USAGE", what, hint="Two folds or more, and some subjects more")
    labelled = names[: options.segment]
    for name in labelled if true else []:
        dice = scores.dice(seen[name], seen[name].contrasts["T2w"].numpy(), _labels(true[name]))
        yield {"case": name, "fold": "", "method": "acquired", **dice}
    for fold in range(options.folds):
        out = names[fold :: options.folds]
        kept = [name for name in names if name not in out]
        for method in options.methods.split(","):
            begun = time.monotonic()
            predictor = _predictor(method, folder, seen, (out, kept), options, fold)
            seconds = round(time.monotonic() - begun, 1)
            for name in out:
                made = predictor(seen[name])
                looks.keep(kept_images, method, seen[name], made)
                row = {"case": name, "fold": fold, "method": method, "train_s": seconds}
                row |= scores.likeness(made, true.get(name, seen[name]))
                if true and name in labelled:
                    row |= scores.dice(seen[name], made, _labels(true[name]))
                yield row


def _labels(scan: Scan) -> torch.Tensor:
    assert scan.labels is not None
    return scan.labels


def _predictor(
    method: str, folder: Path, seen: Mapping[str, Scan], sides: tuple[list[str], list[str]],
    options: argparse.Namespace, fold: int,
) -> methods.Predictor:  # fmt: skip
    out, kept = sides
    if method == "histogram":
        return methods.histogram([seen[name] for name in kept])
    params = _params(method, folder, out, kept[-1:], options)
    if method == BASE:
        return methods.regression([seen[name] for name in kept], params)
    return methods.network(params, options.work / "models" / f"{method}-{fold}")


def _params(
    method: str, folder: Path, out: Sequence[str], validation: Sequence[str],
    options: argparse.Namespace,
) -> dict[str, Any]:  # fmt: skip
    precision = int(options.precision) if options.precision.isdigit() else options.precision
    asked = {
        "method": method, "targets": ["T2w"], "margin": cases.MARGIN,
        "learning": {
            "spacing": options.spacing, "patch": options.patch, "sources": ["T1w"],
            "validation_patches": 8, "data": [cases.entry(folder, out, validation)],
        },
        "training": {
            "steps": options.steps, "batch": options.batch, "learning_rate": options.rate,
            "validate_every": max(1, options.steps // 8), "warmup": min(200, options.steps // 4),
            "precision": precision,
        },
    }  # fmt: skip
    return {**config.section("synthesize", asked), "seed": 0}


def table(rows: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> str:
    """Markdown: mean ± half of its 95 % interval a method, then differences to patch regression."""
    kind = (
        "subjects of the user" if options.data else "phantom subjects, judged without their noise"
    )
    count = len({row["case"] for row in rows})
    lines = [
        f"{count} {kind}, {options.spacing:g} mm, {options.folds} folds by subject, "
        f"{options.steps} steps of {options.batch} patches of {options.patch}³; "
        "mean ± half of the 95 % interval.",
        "", _line(["method", "n", *(title for _, title, _ in COLUMNS)]),
        _line(["---"] * (len(COLUMNS) + 2)),
    ]  # fmt: skip
    names = list(dict.fromkeys(str(row["method"]) for row in rows))
    for name in names:
        mine = [row for row in rows if row["method"] == name]
        cells = [_cell([scores.finite(r, key) for r in mine], digits) for key, _, digits in COLUMNS]
        lines.append(_line([name, str(len(mine)), *cells]))
    base = {row["case"]: row for row in rows if row["method"] == BASE}
    for name in names:
        pairs = [(r, base[r["case"]]) for r in rows if r["method"] == name and r["case"] in base]
        if name in (BASE, "acquired") or not pairs:
            continue
        cells = [
            _cell([scores.finite(a, key) - scores.finite(b, key) for a, b in pairs], "+" + digits)
            for key, _, digits in COLUMNS
        ]
        lines.append(_line([f"{name} − {BASE}", str(len(pairs)), *cells]))
    return "\n".join(lines)


def _cell(values: Sequence[float], digits: str) -> str:
    found = mean_of(values)
    if not found.count:
        return "–"
    half = "" if found.half != found.half else f" ± {format(found.half, digits.lstrip('+'))}"
    return format(found.mean, digits) + half


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _progress(row: Mapping[str, Any]) -> str:
    told = [f"{key} {row[key]:.3f}" for key in ("psnr", "ssim", "dice") if key in row]
    return f"{row['case']} {row['method']}: {', '.join(told)}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VoxelwayError as error:
        print(error, file=sys.stderr)
        sys.exit(int(error.exit))
