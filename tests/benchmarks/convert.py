"""Wall time of ``voxelway convert`` against dcm2niix alone, on the same files in one run.

``python -m tests.benchmarks.convert [--dicom DIR] [--slices 400] [--runs 5]``

Without a folder it makes one series of a head-like image with noise. Both sides write compressed
NIfTI; ours reads the headers, passes the gate, runs dcm2niix, checks the result, hashes inputs and
outputs and writes sidecars as well. Start-up is excluded: the imports are done on a small series
before. The runs alternate, and the median of the ratios counts; on a machine that others use, the
ratio of CPU times is the steadier one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import config
from pipeline.ingest import tool
from pipeline.ingest.folder import convert_folder
from pipeline.phantom import dicom, identity
from pipeline.phantom.lattice import SAGITTAL, Lattice

#: Largest ratio that is asked for.
WANTED = 1.5
EDGE = 256


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table; 0 when the ratio is small enough."""
    options = _arguments(argv)
    params = {**config.section("ingest", {"take": "all"}), "seed": 0}
    with tempfile.TemporaryDirectory(prefix="voxelway-bench-") as name:
        folder = Path(name)
        small = _series(folder / "small", 16, 32)
        _timed(lambda: convert_folder(small, folder / "warm", params))
        source = options.dicom or _series(folder / "dicom", options.slices, EDGE)
        count = sum(path.is_file() for path in source.rglob("*"))
        cores = len(os.sched_getaffinity(0))
        print(f"{count} files, {options.runs} runs, {cores} cores, load {os.getloadavg()[0]:.1f}")
        ratios = []
        for run in range(options.runs):
            ours = _timed(lambda: convert_folder(source, folder / f"ours{run}", params))  # noqa: B023
            alone = _timed(lambda: _alone(source, folder / f"alone{run}"))  # noqa: B023
            ratios.append(tuple(mine / theirs for mine, theirs in zip(ours, alone, strict=True)))
            print(f"voxelway {_told(ours)}, dcm2niix {_told(alone)}, ratios {_told(ratios[-1])}")
    ratio, busy = (statistics.median(values) for values in zip(*ratios, strict=True))
    print(f"median ratio {ratio:.2f} of wall time, {busy:.2f} of CPU time; asked for: {WANTED}")
    return 0 if ratio <= WANTED else 1


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.convert", description=__doc__)
    parser.add_argument("--dicom", type=Path, help="folder; without it, a series is made")
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--runs", type=int, default=5)
    return parser.parse_args(argv)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of CPU with those of ended children."""
    began, before = time.perf_counter(), sum(os.times()[:4])
    with contextlib.redirect_stderr(io.StringIO()):
        work()
    return time.perf_counter() - began, sum(os.times()[:4]) - before


def _told(pair: tuple[float, ...]) -> str:
    return f"{pair[0]:.2f} (CPU {pair[1]:.2f})"


def _alone(source: Path, out: Path) -> None:
    """Dcm2niix with its own settings, but for the compression."""
    out.mkdir()
    command = [tool.program(), "-g", "i", "-z", "y", "-f", "image", "-o", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)


def _series(folder: Path, slices: int, edge: int) -> Path:
    """A series of a head-like image: tissue in steps, noise, and a quiet background."""
    size, spacing = (edge, edge, slices), (1.0, 1.0, 0.5)
    lattice = Lattice.centred(size, spacing, np.zeros(3), SAGITTAL)
    header = dicom.Header(identity.draw("X001", 0), 2, "t1_mprage", tags={"EchoTime": "3"})
    for number, item in enumerate(dicom.image_instances(header, [lattice], [_head(slices, edge)])):
        dicom.save(item, folder / f"{number:04d}.dcm")
    return folder


def _head(slices: int, edge: int) -> NDArray[np.uint16]:
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in (slices, edge, edge)), indexing="ij")
    radius = np.sqrt((k / 0.8) ** 2 + (j / 0.85) ** 2 + (i / 0.7) ** 2)
    folds = 0.15 * np.sin(9 * k + 4 * j) * np.cos(11 * i - 3 * j)
    tissue = np.select([radius + folds < 0.6, radius + folds < 0.8, radius < 1.0], [900, 600, 300])
    noise = np.random.default_rng(0).normal(0.0, 12.0, (2, *tissue.shape))
    return np.hypot(tissue + noise[0], noise[1]).astype(np.uint16)


if __name__ == "__main__":
    sys.exit(main())
