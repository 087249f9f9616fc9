"""The registration template: MNI152 2009a from the maps that nilearn carries, or a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.errors import VoxelwayError
from pipeline.register.names import SHIPPED, known_template

#: The template that Voxelway can make by itself.
MNI = SHIPPED[0]
TISSUES = ("CSF", "GM", "WM")
IMAGES = ("T1w", "brain_mask", "CSF_probseg", "GM_probseg", "WM_probseg")
DESCRIPTION = "description.json"
FILES = {DESCRIPTION, *(f"{name}.nii.gz" for name in IMAGES)}

MNI_DESCRIPTION: dict[str, Any] = {
    "Name": MNI,
    "Title": "ICBM 152 nonlinear symmetric average brain, version 2009a",
    "SkullStripped": True,
    "Source": "nilearn (packaged maps), from the McConnell Brain Imaging Centre, MNI",
    "License": (
        "Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal "
        "Neurological Institute, McGill University. Permission to use, copy, modify, and "
        "distribute this software and its documentation for any purpose and without fee is "
        "hereby granted, provided that the above copyright notice appear in all copies. The "
        "authors and McGill University make no representations about the suitability of this "
        "software for any purpose. It is provided as is without express or implied warranty."
    ),
    "References": [
        "Fonov et al. 2011, Unbiased average age-appropriate atlases for pediatric studies, "
        "NeuroImage 54:313-327, doi:10.1016/j.neuroimage.2010.07.033",
        "Fonov et al. 2009, NeuroImage 47:S102, doi:10.1016/S1053-8119(09)70884-5",
    ],
}


@dataclass(frozen=True)
class Template:
    """A template in memory: skull-stripped image, brain mask (uint8), tissue maps in 0..1."""

    description: Mapping[str, Any]
    image: sitk.Image
    mask: sitk.Image
    tissues: dict[str, sitk.Image]


def write_template(out: Path, params: Mapping[str, Any]) -> None:
    """Write the template folder, whole or not at all.

    Args:
        out: folder; one that exists is replaced if it is a template or empty.
        params: ``template`` (:data:`MNI`, or the path of a folder with the files of
            :data:`IMAGES` and description.json) and ``template_spacing`` in mm (0: as it is).

    Raises:
        VoxelwayError: E-TEMPLATE when there is no such template, or its folder is incomplete;
            E-CONFIG-PATH when ``out`` is a folder with other content.
    """
    with files.whole_folder(out, FILES, "template") as part:
        template = make(params)
        images.write_image(template.image, part / "T1w.nii.gz")
        images.write_image(template.mask, part / "brain_mask.nii.gz")
        for tissue, probability in template.tissues.items():
            images.write_image(probability, part / f"{tissue}_probseg.nii.gz")
        spacing = [round(value, 6) for value in template.image.GetSpacing()]
        digests = {path.name: files.sha256(path) for path in sorted(part.iterdir())}
        about = {**template.description, "SpacingMM": spacing, "Sha256": digests}
        files.write_json(part / DESCRIPTION, about)


def read_template(folder: Path) -> Template:
    """Read a template folder.

    Raises:
        VoxelwayError: E-TEMPLATE when a file is missing or the maps do not share a grid.
    """
    missing = [name for name in IMAGES if not (folder / f"{name}.nii.gz").is_file()]
    if missing:
        what = f"The template folder lacks {', '.join(f'{name}.nii.gz' for name in missing)}"
        hint = f"`voxelway template {folder}` writes the default template"
        raise VoxelwayError("E-TEMPLATE", what, where=str(folder), hint=hint)
    image = images.read_image(folder / "T1w.nii.gz")
    mask = images.read_labels(folder / "brain_mask.nii.gz") > 0
    images.check_mask(mask, str(folder / "brain_mask.nii.gz"))
    tissues = {name: images.read_image(folder / f"{name}_probseg.nii.gz") for name in TISSUES}
    for other in (mask, *tissues.values()):
        images.check_same_grid(image, other, str(folder))
    about = folder / DESCRIPTION
    description = files.read_json(about) if about.is_file() else {"Name": folder.name}
    return Template(description, image, mask, tissues)


def make(params: Mapping[str, Any]) -> Template:
    """The template that ``params`` names, at ``template_spacing``, without writing it.

    Raises:
        VoxelwayError: E-TEMPLATE when there is no such template.
    """
    wanted = str(params["template"])
    known_template(wanted)
    template = _nilearn_maps() if wanted == MNI else read_template(Path(wanted))
    return resampled(template, float(params["template_spacing"]))


def resampled(template: Template, spacing: float) -> Template:
    """The template on an isotropic lattice over the same field of view (0: as it is).

    For a coarser lattice the maps are blurred first with the Gaussian whose FWHM is what the new
    voxel has over the old one, so that thin structures are averaged and not skipped.
    """
    current = np.asarray(template.image.GetSpacing())
    if spacing <= 0 or np.allclose(current, spacing, atol=1e-3):
        return template
    grid = images.spaced_grid(template.image, (spacing, spacing, spacing))
    # FWHM² of the new voxel minus that of the old one, as Gaussians
    sigma = np.sqrt(np.maximum(spacing**2 - current**2, 0.0)) / 2.3548

    def down(image: sitk.Image) -> sitk.Image:
        smooth = sitk.Cast(image, sitk.sitkFloat32)
        if (sigma > 0).all():
            smooth = sitk.SmoothingRecursiveGaussian(smooth, sigma.tolist())
        return images.resample(smooth, grid, order=1)

    mask = down(template.mask) >= 0.5
    kept = sitk.Cast(mask, sitk.sitkFloat32)
    tissues = {
        name: sitk.Clamp(down(image), sitk.sitkFloat32, 0.0, 1.0)
        for name, image in template.tissues.items()
    }
    return Template(template.description, down(template.image) * kept, mask, tissues)


def _nilearn_maps() -> Template:
    """T1w, GM and WM at 1 mm from nilearn's package; CSF is what they leave of the brain."""
    from nilearn import datasets

    image = _from_nibabel(datasets.load_mni152_template(resolution=1))
    gm = _from_nibabel(datasets.load_mni152_gm_template(resolution=1))
    wm = _from_nibabel(datasets.load_mni152_wm_template(resolution=1))
    inside = sitk.BinaryFillhole(image > 0.0)
    # the maps were stretched so that their maximum is 1: GM + WM may pass 1 by a little
    rest = sitk.Cast(inside, sitk.sitkFloat32) - gm - wm
    csf = sitk.Clamp(rest, sitk.sitkFloat32, 0.0, 1.0)
    return Template(MNI_DESCRIPTION, image, inside, {"CSF": csf, "GM": gm, "WM": wm})


def _from_nibabel(volume: Any) -> sitk.Image:
    """A nibabel volume (RAS) as float32 in LPS orientation."""
    import nibabel

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.nii"
        nibabel.save(volume, path)
        return sitk.DICOMOrient(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32), "LPS")
