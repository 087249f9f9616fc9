"""Low-dose CT: what methods leave of the noise of few photons.

``python -m tests.benchmarks.restore.low_dose CT.nii.gz... [--photons 20000 141000 1000000]
[--methods nlm,nlm@5] [--model drunet BUNDLE]``: the middle slices of each image, in
Hounsfield units, get the noise of few photons as in training (line integrals, Poisson and
electronic noise, filtered back-projection), and each method goes over them through the stage.
A number after a method is ``denoise.strength``: the estimate sees a fifth of the noise of CT. The
table has the root mean square error in the head and in its soft tissue (0 to 80 HU), and its 95 %
interval.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import config, files, images
from pipeline.denoise import noise, stage
from pipeline.denoise.learning.low_dose import Projected, Scanner
from pipeline.restore.volumes import Source, read_volume
from tests.benchmarks.register.table import mean_of

WINDOW = (-1000.0, 1000.0)
#: What is judged, HU: the head, and soft tissue.
HEAD, SOFT = -500.0, (0.0, 80.0)
#: Lets an image of little noise be denoised, too: the estimate sees a fifth of the noise of CT.
THRESHOLD = 0.1
COLUMNS = ("case", "photons", "method", "head", "soft")


@dataclass(frozen=True)
class Scan:
    """The middle slices of an image.

    Attributes:
        name: of the case.
        clean: Hounsfield units within the window.
        projected: whose noise is drawn.
    """

    name: str
    clean: sitk.Image
    projected: Projected

    def given(self, photons: float, seed: int) -> sitk.Image:
        """The slices with the noise of a dose."""
        size, low, width = self.projected.volume.values.shape, WINDOW[0], WINDOW[1] - WINDOW[0]
        made, _ = self.projected.noise((0, 0, 0), size, photons, np.random.default_rng(seed))
        values = np.clip(self.projected.volume.values + made, 0.0, 1.0) * width + low
        return images.like(values.astype(np.float32), self.clean)


def read(path: Path, slices: int) -> Scan:
    """Read an image; slices along the head's axis, about the middle of the head."""
    image = sitk.DICOMOrient(images.read_image(path), "LPS")
    inside = np.flatnonzero((images.array(image) > HEAD).any(axis=(1, 2)))
    first = max(0, (int(inside[0]) + int(inside[-1])) // 2 - slices // 2)
    part = sitk.Clamp(image[:, :, first : first + slices], sitk.sitkFloat32, *WINDOW)
    name = f"{path.parent.name}_{path.name.split('.')[0]}"
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / "sub-1_CT.nii.gz"
        images.write_image(part, beside)
        source = Source("judged", Path(folder), beside.name, "CT", "", window=WINDOW)
        everywhere = Path(folder) / "mask.nii.gz"
        full = np.ones(images.array(part).shape, dtype=np.uint8)
        images.write_image(images.like(full, part), everywhere)
        volume = read_volume(source, beside, name, everywhere)
    return Scan(name, part, Projected(volume, WINDOW, Scanner()))


def errors(found: sitk.Image, clean: sitk.Image) -> dict[str, float]:
    """Root mean square errors in HU, in the head and in soft tissue."""
    truth, made = images.array(clean), images.array(found)
    soft = (truth >= SOFT[0]) & (truth <= SOFT[1])
    return {"head": _rms(made - truth, truth > HEAD), "soft": _rms(made - truth, soft)}


def _rms(error: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    return float(np.sqrt(np.mean(np.square(error[where]), dtype=np.float64)))


def prepared(method: str, model: Path | None) -> stage.Prepared:
    """A method of the stage, as ``nlm`` or ``nlm@5``, ready for any number of images."""
    name, _, strength = method.partition("@")
    options = {"method": name, "strength": float(strength or 1.0), "threshold": THRESHOLD}
    return stage.prepare({**config.section("denoise", options), "seed": 0}, model)


def run(
    scans: Sequence[Scan], photons: Sequence[float], methods: Mapping[str, stage.Prepared]
) -> Iterator[dict[str, Any]]:
    """A row a case, dose and method; ``none`` is what was given."""
    for number, scan in enumerate(scans):
        for dose in photons:
            given = scan.given(dose, number)
            row = {"case": scan.name, "photons": f"{dose:g}"}
            yield {**row, "method": "none", **errors(given, scan.clean)}
            for name, one in methods.items():
                found = stage.denoise(given, noise.foreground(given), one, scan.name)
                yield {**row, "method": name, **errors(found.image, scan.clean)}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown, a line a dose and method."""
    lines = ["| photons | method | images | head, HU | soft tissue, HU |", "| --- |" + " --- |" * 4]
    for dose in dict.fromkeys(row["photons"] for row in rows):
        for method in dict.fromkeys(row["method"] for row in rows):
            mine = [row for row in rows if (row["photons"], row["method"]) == (dose, method)]
            cells = []
            for key in ("head", "soft"):
                mean = mean_of([row[key] for row in mine])
                cells.append(f"{mean.mean:.1f} ± {mean.half:.1f}")
            lines.append(f"| {dose} | {method} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Judge, print the table and write the rows."""
    parser = argparse.ArgumentParser(prog="low-dose", description=__doc__)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--photons", nargs="+", type=float, default=[2e4, 1.41e5, 1e6])
    parser.add_argument(
        "--methods", default="nlm,nlm@5,collaborative@5", help="names, comma between"
    )
    parser.add_argument("--model", nargs=2, action="append", default=[],
                        metavar=("METHOD", "BUNDLE"))  # fmt: skip
    parser.add_argument("--slices", type=int, default=24, help="of each image")
    parser.add_argument("--out", type=Path, default=Path("build/low-dose.tsv"))
    options = parser.parse_args(argv)
    methods = {name: prepared(name, None) for name in options.methods.split(",") if name}
    methods |= {name: prepared(name, Path(folder)) for name, folder in options.model}
    scans = [read(path, options.slices) for path in options.images]
    rows = []
    for row in run(scans, options.photons, methods):
        rows.append(row)
        files.write_tsv(options.out, COLUMNS, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
