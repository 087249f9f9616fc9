"""Small images, configurations and bundles for the tests of learned super-resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline import config, images, networks
from pipeline.bundles import write_bundle

#: Tiny arguments of every architecture.
TINY: dict[str, dict[str, Any]] = {
    "anyscale": {"features": 4, "blocks": 1, "told": 4},
    "srcnn": {"features": [4, 4], "kernels": [3, 1, 3]},
    "channel_splitting": {"features": 4, "blocks": 1},
    "subpixel": {"factor": 3, "features": 4, "blocks": 1},
    "saint": {"factor": 3, "features": 4, "blocks": 1, "fusion": 1},
}
#: Method → architecture and what its arguments have more.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "anyscale": ("anyscale", {}),
    "adversarial": ("anyscale", {}),
    "guided": ("anyscale", {"guides": 1}),
    "srcnn": ("srcnn", {}),
    "channel_splitting": ("channel_splitting", {}),
    "subpixel": ("subpixel", {}),
    "saint": ("saint", {}),
}


def params(**changes: Any) -> dict[str, Any]:
    """Section ``superres`` and a seed."""
    return {**config.section("superres", changes), "seed": 0}


def image(values: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    """An image of (z, y, x) values; spacing x, y, z in mm."""
    made = sitk.GetImageFromArray(values.astype(np.float32))
    made.SetSpacing(spacing)
    return made


def ball(shape: tuple[int, int, int] = (36, 32, 28)) -> sitk.Image:
    """Smooth object in 1 mm voxels, zero around it."""
    z, y, x = np.ogrid[tuple(map(slice, shape))]
    centre = [(n - 1) / 2 for n in shape]
    radius = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    values = 100.0 / (1.0 + np.exp(2 * (radius - 11.0))) * (1.2 + np.cos(x / 2.0) * np.sin(z / 3.0))
    return image(np.where(values > 0.5, values, 0.0), (1.0, 1.0, 1.0))


def bundle(folder: Path, method: str, *, more: dict[str, Any] | None = None, **inputs: Any) -> Path:
    """A bundle of a method with random weights whose last layer does something."""
    architecture, extra = METHODS[method]
    arguments = {**TINY[architecture], **extra, **(more or {})}
    torch.manual_seed(0)
    network = networks.build(architecture, arguments)
    with torch.no_grad():
        for values in network.parameters():
            values.add_(0.02 * torch.randn_like(values))
    given = "slices" if "factor" in arguments else "interpolated"
    told = {
        "contrasts": ["T1w"],
        "random_contrasts": 0.3,
        "factors": [1.0, 6.0],
        "given": given,
        "guides": arguments.get("guides", 0),
        **({"factor": arguments["factor"]} if "factor" in arguments else {}),
    }
    metadata = {
        "stage": "superres",
        "architecture": {"superres": {"name": architecture, "arguments": arguments}},
        "inputs": {**told, **inputs},
        "outputs": {},
        "training": {
            "subjects": {"train": 1, "val": 1},
            "split": "by subject",
            "seed": 0,
            "steps": 1,
            "code": "0",
            "version": "0",
            "data": [{"name": "balls", "licence": "CC0"}],
            "scores": {},
        },
    }
    tensors = {
        f"superres/{key}": values.detach().numpy() for key, values in network.state_dict().items()
    }
    write_bundle(folder, tensors, metadata, "# Test\n", {})
    return folder


def write_subjects(folder: Path, count: int) -> None:
    """Balls of different sizes as files of a training set."""
    for number in range(count):
        rng = np.random.default_rng(number)
        base = images.array(ball())
        noisy = base * (1 + 0.02 * rng.standard_normal(base.shape)) * (base > 0)
        images.write_image(
            image(noisy, (1.0, 1.0, 1.0)), folder / f"sub-{number + 1:02d}_T1w.nii.gz"
        )
