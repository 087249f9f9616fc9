"""Which bundle a learned method uses: shipped, trained by this cohort, or a given one. Light."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import files, methods
from pipeline.bundles import METADATA
from pipeline.errors import VoxelwayError

SHIPPED = Path(__file__).parent / "bundles"


def shipped(stage: str, method: str) -> Path:
    """Bundle that ships with Voxelway for a method.

    Raises:
        VoxelwayError: E-MODEL-MISSING when none does.
    """
    path = SHIPPED / stage / method
    if not (path / METADATA).is_file():
        have = sorted(item.parent.name for item in (SHIPPED / stage).glob(f"*/{METADATA}"))
        what = f"No model ships for the method {method} of {stage}"
        known = f"Models ship for: {', '.join(have)}. " if have else ""
        hint = (
            f"{known}Set models.{stage}.source, or --model, to one of these names or to a bundle's "
            "path, or train one"
        )
        raise VoxelwayError("E-MODEL-MISSING", what, hint=hint)
    return path


def located(stage: str, given: str | Path) -> Path:
    """A bundle by its path, or by the name of one that ships for the stage."""
    own = SHIPPED / stage / str(given)
    if not Path(given).exists() and (own / METADATA).is_file():
        return own
    return Path(given)


def chosen(stage: str, method: str, source: str = "shipped") -> Path | None:
    """Bundle of a call that is not part of a workflow.

    Args:
        stage: the stage.
        method: the method; None comes back for one that is not learned.
        source: ``models.STAGE.source``; what a cohort would train is not known here, so ``train``
            takes the shipped bundle too.

    Raises:
        VoxelwayError: E-MODEL-MISSING when nothing ships.
    """
    if not methods.learned(stage, method):
        return None
    if source in ("shipped", "train"):
        return shipped(stage, method)
    return located(stage, source)


def digest(model: Path | None) -> str:
    """SHA-256 of a bundle's metadata, which holds that of the weights; empty without a model.

    Raises:
        VoxelwayError: E-MODEL-MISSING.
    """
    if model is None:
        return ""
    path = model / METADATA
    if not path.is_file():
        raise VoxelwayError("E-MODEL-MISSING", f"No {METADATA}", where=str(model))
    return files.sha256(path)


def further(stage: str, params: Mapping[str, Any]) -> list[Path]:
    """Bundles that a stage uses beside its method's own: they divide what that finds."""
    entries = params.get("cascade", {}).get("divide", [])
    return [located(stage, str(entry["model"])) for entry in entries]


def identity(stage: str, params: Mapping[str, Any], model: Path | None) -> str:
    """Digests of all bundles that decide a stage's results, the method's own first; or empty.

    Raises:
        VoxelwayError: E-MODEL-MISSING.
    """
    if model is None:
        return ""
    return " ".join(digest(one) for one in (model, *further(stage, params)))


def training_folder(bundle: Path) -> Path:
    """Checkpoints and logs of a bundle's training, beside it; they outlive an interruption."""
    return bundle.with_name(bundle.name + ".training")
