"""The configuration of a run, and each rule's own slice of it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import config as configuration
from pipeline import models
from pipeline.errors import VoxelwayError
from pipeline.fingerprint import code_fingerprint
from pipeline.methods import learned, module_name, stage_code, stage_packages
from pipeline.paths import Results
from pipeline.register.names import known_template


def check(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Check a configuration before the DAG is built: schema, methods, paths.

    Raises:
        VoxelwayError: E-CONFIG-KEY, E-CONFIG-VALUE, E-CONFIG-PATH, E-METHOD, E-TEMPLATE,
            E-DIR-WRITE.
    """
    settings = configuration.resolve(raw)
    for stage in configuration.SECTIONS:
        method = settings[stage].get("method")
        if method is not None:
            module_name(stage, method)
    known_template(settings["register"]["template"])
    _check_folder("dicom", settings["dicom"])
    if not any(Path(settings["dicom"]).iterdir()):
        hint = "Put the DICOM files there, in folders of any depth"
        raise VoxelwayError(
            "E-DCM-FOLDER", "The folder is empty", where=settings["dicom"], hint=hint
        )
    truth = settings["evaluate"]["truth"]
    if truth:
        _check_folder("evaluate.truth", truth)
    _check_writable(Path(settings["results"]))
    return settings


def _check_folder(key: str, folder: str) -> None:
    if not Path(folder).is_dir():
        hint = "`make demo` writes the demo's data; for your own, set the path in the configuration"
        raise VoxelwayError("E-CONFIG-PATH", f"{key}: no folder {folder}", hint=hint)


def _check_writable(folder: Path) -> None:
    place = folder
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        hint = "Choose another `results`, or change its permissions"
        raise VoxelwayError("E-DIR-WRITE", "The folder can't be written", where=str(place),
                            hint=hint)  # fmt: skip


def check_cache(rules: Collection[str] | None) -> None:
    """Refuse Snakemake's cache between workflows: all who use it can read and write what is in it.

    Every rule but ``template`` rests on patients' images, trained models included, and the template
    is made in seconds.

    Args:
        rules: that ``--cache`` names; it is None, or empty, where none is.

    Raises:
        VoxelwayError: E-USAGE.
    """
    if rules:
        what = f"--cache {' '.join(sorted(rules))}: results of patients may not be shared so"
        raise VoxelwayError("E-USAGE", what, hint="Leave --cache out")


def template_label(settings: Mapping[str, Any]) -> str:
    """Label of the registration template in file names."""
    return known_template(settings["register"]["template"])


def slice_of(settings: Mapping[str, Any], section: str, use: str = "inference") -> str:
    """One section and the seed as JSON: what reruns a rule.

    Args:
        settings: the whole configuration.
        section: the stage.
        use: ``inference``, ``training`` or ``cohort``; keys of another use alone are left out.
    """
    chosen = configuration.used_by(section, settings[section], use)
    return json.dumps({**chosen, "seed": settings["seed"]}, sort_keys=True)


@dataclass(frozen=True)
class Model:
    """The bundle that a stage's method uses.

    Attributes:
        bundle: its folder; None for a method that is not learned.
        trained: it is made in the DAG.
        digest: SHA-256 of the metadata, which holds that of the weights, of a bundle that stands
            already; a new one runs inference again. Empty otherwise.
    """

    bundle: Path | None = None
    trained: bool = False
    digest: str = ""


def model_of(settings: Mapping[str, Any], results: Results, stage: str) -> Model:
    """Resolve ``models.STAGE.source`` for the method that the configuration chose.

    Raises:
        VoxelwayError: E-MODEL-MISSING when nothing ships, or the path holds no bundle.
    """
    method, source = settings[stage]["method"], settings["models"][stage]["source"]
    if not learned(stage, method):
        return Model()
    if source == "train":
        others = " ".join(map(models.digest, models.further(stage, settings[stage])))
        return Model(results.model(stage, method), trained=True, digest=others)
    bundle = models.chosen(stage, method, source)
    assert bundle is not None  # the method is a learned one
    return Model(bundle.resolve(), digest=models.identity(stage, settings[stage], bundle))


def export(settings: Mapping[str, Any], bundles: Mapping[str, Model]) -> None:
    """Hand every section to the rules' commands as VOXELWAY_SECTION, which keeps them short.

    The cohort's page gets VOXELWAY_COHORT, what trains VOXELWAY_TRAIN_SECTION; a learned method's
    bundle is VOXELWAY_MODEL_SECTION: where a bundle lies decides nothing, so no parameter of a rule
    holds it. Jobs on a cluster read the Snakefile again, and so set the same.
    """
    for name in configuration.SECTIONS:
        os.environ[f"VOXELWAY_{name.upper()}"] = slice_of(settings, name)
    os.environ["VOXELWAY_COHORT"] = slice_of(settings, "report", "cohort")
    for name, model in bundles.items():
        whole = {**settings[name], "seed": settings["seed"]}
        os.environ[f"VOXELWAY_TRAIN_{name.upper()}"] = json.dumps(whole)
        os.environ[f"VOXELWAY_MODEL_{name.upper()}"] = str(model.bundle or "")


def code_of(settings: Mapping[str, Any], stage: str) -> str:
    """Fingerprint of a stage's code with the methods that the configuration chose."""
    return stage_code(stage, configuration.used_by(stage, settings[stage], "inference"))


def packages_of(settings: Mapping[str, Any], stage: str) -> list[str]:
    """Packages with their versions that a stage and its methods rest on."""
    return stage_packages(stage, configuration.used_by(stage, settings[stage], "inference"))


def code_of_modules(*modules: str) -> str:
    """Fingerprint of modules that are no stage: index, template, training, cohort page."""
    return code_fingerprint(*modules)
