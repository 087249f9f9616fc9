"""Names of the templates, light enough for the workflow to check when it is read."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import VoxelwayError

#: Templates that Voxelway can write without a network.
SHIPPED = ("MNI152NLin2009aSym",)


def known_template(template: str) -> str:
    """Give the template's label in file names: a shipped name, or that of a folder.

    Raises:
        VoxelwayError: E-TEMPLATE when there is neither.
    """
    if template in SHIPPED:
        return template
    folder = Path(template)
    if folder.is_dir() and (folder / "T1w.nii.gz").is_file():
        return "".join(letter for letter in folder.name if letter.isalnum())
    hint = f"Shipped: {', '.join(SHIPPED)}; or a folder with T1w.nii.gz, brain_mask.nii.gz, …"
    raise VoxelwayError("E-TEMPLATE", f"No template {template!r}", hint=hint)
