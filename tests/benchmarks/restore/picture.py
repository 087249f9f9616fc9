"""A picture of what methods make of one sharp image made worse, and how far they are from it.

``python -m tests.benchmarks.restore.picture IMAGE OUT.png [--noise 5] [--thickness 5]`` shows one
plane with the score of the whole image; methods run as in ``make bench-restore``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from pipeline import images
from tests.benchmarks.restore import bench, cases, scores

#: Without them, a picture of what ships beside what needs no training.
METHODS = "none,nlm,collaborative,refined_filters,nearest,linear,bspline,anyscale"
#: Largest difference that is told apart, share of the range.
LARGEST = 0.15
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Panel:
    """A plane of a result and its difference to the sharp one, shares of the range.

    Attributes:
        title: the method and its score.
        plane: the result, first row at the top.
        error: its difference to the sharp image.
        aspect: height of a pixel by its width.
    """

    title: str
    plane: Values
    error: Values
    aspect: float


def main(argv: Sequence[str] | None = None) -> None:
    """Run the methods and draw."""
    options = arguments(argv)
    chosen = bench.chosen(options.methods, bench.available(), {})
    sharp = cases.read(options.image)
    tasks = cases.tasks([options.noise], [options.thickness])
    figure = Figure(figsize=(11.0, 10.0), layout="constrained")
    FigureCanvasAgg(figure)
    for part, task in zip(figure.subfigures(len(tasks), 1), tasks, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            setup = bench.Setup(options.peers, options.cores, {}, Path(folder))
            panels = panels_of(sharp, task, chosen, setup, options)
        _draw(part, task.name, panels)
    figure.savefig(options.out, dpi=90, metadata={"Software": None})


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, help="sharp, and not trained on")
    parser.add_argument("out", type=Path, help="PNG file, is replaced")
    parser.add_argument("--noise", type=float, default=5.0, help="percent")
    parser.add_argument("--thickness", type=float, default=5.0, help="mm, along z")
    parser.add_argument("--methods", default=METHODS, help="of denoise and superres")
    parser.add_argument("--normal", choices="xyz", default="y", help="of the plane that is shown")
    parser.add_argument("--peers", type=Path, default=Path("build/bench-restore-peers/bin/python"))
    parser.add_argument("--cores", type=int, default=2)
    return parser.parse_args(argv)


def panels_of(
    sharp: cases.Reference,
    task: cases.Task,
    chosen: dict[str, bench.Method],
    setup: bench.Setup,
    options: argparse.Namespace,
) -> list[Panel]:
    """The sharp image, and what each method of the task's stage makes of it."""
    reference = cases.whole(sharp, task, setup.axis)
    given = cases.worse(reference, task, setup.axis, setup.shape, 0)
    source = setup.work / f"sub-1_{cases.contrast(options.image)}.nii.gz"
    cases.write(given, source)
    job = bench.Job(given, reference, source, None)
    truth = images.array(reference.image) / reference.extent
    shown = [_panel("sharp", truth, truth, reference.image, options.normal)]
    for name, method in chosen.items():
        if method.stage != task.stage:
            continue
        found, _ = bench.restored(method, job, setup.work, setup)
        score = scores.measure(found, reference)["psnr"]
        title = f"{'as it is' if name == bench.NONE else name}\n{score:.1f} dB"
        values = images.array(images.resample(found, reference.image)) / reference.extent
        shown.append(_panel(title, values, truth, reference.image, options.normal))
    return shown


def _panel(title: str, values: Values, truth: Values, grid: sitk.Image, normal: str) -> Panel:
    """The middle plane, what is last in the image (of the two axes the slower one) at the top."""
    axis = 2 - "xyz".index(normal)
    width, height = (grid.GetSpacing()[n] for n in range(3) if n != "xyz".index(normal))
    middle = truth.shape[axis] // 2
    plane, sharp = (np.flipud(one.take(middle, axis=axis)) for one in (values, truth))
    return Panel(title, plane, plane - sharp, height / width)


def _draw(part: SubFigure, name: str, panels: Sequence[Panel]) -> None:
    part.suptitle(f"{name}; below: difference to sharp, ± {100 * LARGEST:g} % of the range")
    places = part.subplots(2, len(panels), squeeze=False)
    for column, panel in zip(places.T, panels, strict=True):
        column[0].imshow(panel.plane, cmap="gray", vmin=0, vmax=1.05, aspect=panel.aspect)
        column[0].set_title(panel.title, fontsize="medium")
        column[1].imshow(panel.error, "RdBu_r", aspect=panel.aspect, vmin=-LARGEST, vmax=LARGEST)
        for axes in column:
            axes.set_axis_off()


if __name__ == "__main__":
    main()
