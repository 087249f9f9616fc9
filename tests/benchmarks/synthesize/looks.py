"""How real the made T2w of all methods look, beside the scores against the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.synthesize.judging import card, features, realism
from pipeline.synthesize.judging.features import Picture
from pipeline.synthesize.learning.cases import Scan
from tests.benchmarks.synthesize.methods import TARGET

#: Method → made images of subjects that were kept out.
Made = dict[str, list[Picture]]


def keep(made: Made, method: str, scan: Scan, values: NDArray[np.float32]) -> None:
    """Remember a made image, inside its brain."""
    mask = scan.mask.numpy()
    made.setdefault(method, []).append(Picture(scan.subject, values * mask, mask))


def table(made: Made, scans: Mapping[str, Scan], work: Path, steps: int) -> str:
    """Markdown: realism a method, and what must be said of so few subjects.

    The encoder has seen the acquired images of all subjects; it is the same for all methods.
    """
    real = [
        Picture(scan.subject, (scan.contrasts[TARGET] * scan.mask).numpy(), scan.mask.numpy())
        for scan in scans.values()
    ]
    identity = " ".join(sorted(scan.digest for scan in scans.values()))
    encoder = features.learn(real, card.SIDE, steps, 0, work / "encoder", identity)
    found = {
        method: realism.judge(real, pictures, encoder, side=card.SIDE)
        for method, pictures in made.items()
    }
    lines: list[str] = []
    for method, one in found.items():
        scores = one.scores()
        if not lines:
            names = [name.removeprefix("realism: ") for name in scores]
            lines += [_line(["method", *names]), _line(["---"] * (1 + len(names)))]
        lines.append(_line([method, *(f"{score.mean:.3g}" for score in scores.values())]))
    told = list(dict.fromkeys(text for one in found.values() for text in one.warnings))
    return "\n".join([*lines, "", *(f"- {text}" for text in told)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
