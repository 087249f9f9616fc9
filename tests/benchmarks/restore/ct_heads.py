"""Head CT of phantom subjects, to train on and to judge by where no CT of patients is at hand.

``python -m tests.benchmarks.restore.ct_heads FOLDER [--subjects 8] [--seed 301] [--spacing 1.2]``
writes ``FOLDER/P001/CT.nii.gz`` and so on: Hounsfield units, without noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline import images
from pipeline.phantom import anatomy, ct
from pipeline.progress import shown


def main(argv: Sequence[str] | None = None) -> None:
    """Write the images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="files there are replaced")
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--seed", type=int, default=301, help="another one for another cohort")
    parser.add_argument("--spacing", type=float, default=1.2, help="mm")
    options = parser.parse_args(argv)
    known = anatomy.load()
    names = [f"P{number:03d}" for number in range(1, options.subjects + 1)]
    for name in shown(names, len(names), "CT", unit="subject"):
        made = ct.image(name, options.seed, known, options.spacing)
        (options.folder / name).mkdir(parents=True, exist_ok=True)
        images.write_image(made, options.folder / name / "CT.nii.gz")


if __name__ == "__main__":
    main()
