"""Noisy copies of sharp images, to train on as a hospital without clean ones would.

``python -m tests.benchmarks.restore.noisy FOLDER IMAGE... [--noise 5]``: Rician noise in percent of
the range in the head, as the benchmark adds it; what is empty stays empty.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline import images
from tests.benchmarks.restore import cases


def main(argv: Sequence[str] | None = None) -> None:
    """Write the copies under the names of the images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="is made; files there are replaced")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--noise", type=float, default=5.0, help="percent")
    options = parser.parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(options.images):
        sharp = cases.read(path)
        made = cases.noisy(sharp.image, options.noise / 100.0 * sharp.extent, number)
        emptied = images.array(made) * (images.array(sharp.image) != 0)
        images.write_image(images.like(emptied, sharp.image), options.folder / path.name)


if __name__ == "__main__":
    main()
