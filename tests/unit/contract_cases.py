"""What the contract of a stage is put to: a head, images that are refused, tiny models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline import cli, images, labels, networks
from pipeline.bundles import write_bundle
from pipeline.denoise.learning.presets import PRESETS
from pipeline.segment.cascade.plan import CascadePlan, Intensity, Level
from pipeline.synthesize.learning import presets as synthesis
from tests.unit import superres_cases

#: Arguments of the denoising networks that make them small.
SMALL: dict[str, dict[str, Any]] = {
    "patch_mixture": {"components": 3},
    "drunet": {"features": [4], "blocks": 1},
    "refiner": {"features": [4], "blocks": 1},
    "redcnn": {"features": 4},
    "cnn_dae": {"features": [4]},
    "wavelet_resnet": {"features": 4, "blocks": 1},
    "plain_cnn": {"features": 4, "layers": 3},
}
#: The same of those of synthesis.
SMALL_SYNTHESIS: dict[str, dict[str, Any]] = {
    "translator": {"features": [4, 4], "neighbours": 1},
    "auto_context": {"width": 4, "dilations": [1, 2]},
    "resnet_generator": {"features": 4, "blocks": 1},
}


def write_head(folder: Path) -> Path:
    """Whole-head T1w of the phantom, 4 mm, with 3 % Rician noise."""
    from pipeline.phantom.cohort import write_subject

    write_subject("P001", folder, 4.0, 0)
    clean = images.read_image(folder / "truth" / "P001" / "T1w.nii.gz")
    values = images.array(clean)
    noise = np.random.default_rng(0).normal(0.0, 0.03 * values.max(), (2, *values.shape))
    noisy = np.hypot(values + noise[0], noise[1]).astype(np.float32)
    path = folder / "sub-1_T1w.nii.gz"
    images.write_image(images.like(noisy, clean), path)
    return path


def voxelway(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def leave_as_is(path: Path, folder: Path) -> Path:
    return path


def changed(change: Callable[[sitk.Image], sitk.Image]) -> Callable[[Path, Path], Path]:
    def make(path: Path, folder: Path) -> Path:
        target = folder / path.name
        sitk.WriteImage(change(sitk.ReadImage(str(path))), str(target))
        return target

    return make


def with_nan(image: sitk.Image) -> sitk.Image:
    image[3, 3, 3] = float("nan")
    return image


def truncated(path: Path, folder: Path) -> Path:
    target = folder / path.name
    target.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return target


def sheared(path: Path, folder: Path) -> Path:
    import nibabel as nib

    image = nib.load(path)
    affine = image.affine.copy()
    affine[:3, 0] += 0.7 * affine[:3, 1]
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), folder / path.name)
    return folder / path.name


BAD_INPUTS = {
    "E-IMG-MISSING": lambda path, folder: folder / "none_T1w.nii.gz",
    "E-IMG-4D": changed(lambda image: sitk.JoinSeries([image, image])),
    "E-IMG-NAN": changed(with_nan),
    "E-IMG-EMPTY": changed(lambda image: image * 0),
    "E-IMG-SLICES": changed(lambda image: image[:, :, 10:12]),
    "E-IMG-UNREADABLE": truncated,
    "E-IMG-AFFINE": sheared,
}


def write_model(folder: Path, stage: str, method: str) -> Path:
    """A tiny bundle of a learned method, with random weights."""
    return {
        "denoise": _denoiser, "superres": superres_cases.bundle, "segment": _cascade,
        "synthesize": _synthesis,
    }[stage](folder, method)  # fmt: skip


def _denoiser(folder: Path, method: str) -> Path:
    preset = PRESETS[method]
    arguments = {**preset.arguments, **SMALL[preset.architecture]}
    made = {"denoise": (preset.architecture, arguments)}
    return _bundle(folder, "denoise", made, {"contrasts": ["T1w"], "largest_noise_percent": 12.0})


def _synthesis(folder: Path, method: str) -> Path:
    inputs = {"contrasts": ["T1w"], "spacing_mm": 8.0, "margin_mm": 4.0}
    if method not in synthesis.PRESETS:
        return _regression(folder, inputs)
    preset = synthesis.PRESETS[method]
    arguments = {**preset.arguments, **SMALL_SYNTHESIS[preset.architecture]}
    arguments = {**arguments, "inputs": 1, "targets": 1}
    outputs = {"contrasts": ["T2w"], "levels": {"T2w": 100.0}, "orientations": "all"}
    return _bundle(
        folder, "synthesize", {"synthesize": (preset.architecture, arguments)}, inputs, outputs
    )


def _regression(folder: Path, inputs: dict[str, Any]) -> Path:
    shapes = {"hidden0.weight": (4, 33), "hidden0.bias": (4,), "mean.weight": (1, 4),
              "mean.bias": (1,), "variance.weight": (1, 4), "variance.bias": (1,),
              "center": (33,), "scale": (33,)}  # fmt: skip
    rng = np.random.default_rng(0)
    tensors = {
        f"one/{key}": rng.uniform(0.1, 1.0, shape).astype(np.float32)
        for key, shape in shapes.items()
    }
    metadata = {
        "stage": "synthesize", "inputs": inputs, "outputs": {"contrasts": ["T2w"]},
        "architecture": {"name": "patch-network", "hidden": [4], "patch_step_mm": 4.0,
                         "margin_mm": 4.0},
        "models": [{"name": "one", "target": "T2w", "sources": ["T1w"], "level": 100.0}],
        "absent": [],
        "training": {"subjects": 1, "split": "train", "seed": 0, "code": "0", "version": "0"},
    }  # fmt: skip
    write_bundle(folder, tensors, metadata, "# Test\n", {})
    return folder


def _cascade(folder: Path, method: str) -> Path:
    arguments = {"channels": [4, 8], "strides": [1, 2], "kernels": [3, 3]}
    table = labels.known("tissues")[:3]
    one = Level("coarse", (8.0,) * 3, (16, 16, 16), tuple((label.index,) for label in table))
    plan = CascadePlan(
        ("any",), tuple(label.row() for label in table), (one,), Intensity("percentile", 0.5, 99.5)
    )
    made = {"coarse.0": ("unet", {"inputs": 1, "outputs": 4, **arguments})}
    return _bundle(folder, "segment", made, {"contrasts": ["any"], "plan": plan.as_json()})


def _bundle(
    folder: Path, stage: str, made: dict[str, tuple[str, dict[str, Any]]], inputs: dict[str, Any],
    outputs: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    torch.manual_seed(0)
    tensors = {}
    for name, (architecture, arguments) in made.items():
        network = networks.build(architecture, arguments)
        with torch.no_grad():
            for values in network.parameters():
                values.add_(0.02 * torch.randn_like(values))
            # the last bias, or a network that writes the image anew might write nothing
            values.abs_().add_(1.0)
        found = network.state_dict().items()
        tensors |= {f"{name}/{key}": value.detach().numpy() for key, value in found}
    training = {"subjects": {"train": 1, "val": 1}, "split": "by subject", "seed": 0}
    metadata = {
        "stage": stage,
        "architecture": {k: {"name": n, "arguments": a} for k, (n, a) in made.items()},
        "inputs": inputs,
        "outputs": outputs or {},
        "training": {**training, "code": "0", "version": "0"},
    }
    write_bundle(folder, tensors, metadata, "# Test\n", {})
    return folder
