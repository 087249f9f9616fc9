"""What the rules share. Functions only: the rules are in the files beside this one."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from pipeline import decisions
from pipeline.errors import VoxelwayError
from pipeline.paths import Results, Unit
from workflow.lib import arrivals, cohort, environment, resources as needs, settings

environment.provide_voxelway()

# what one unit's paths look like, with Snakemake's wildcards in place of the labels
UNIT = Unit("{subject}", "{session}")


def refuse(error):
    """End with the coded paragraph instead of a traceback."""
    print(str(error), file=sys.stderr)
    sys.exit(int(error.exit))


try:
    SETTINGS = settings.check(config)
    RESULTS = Results(Path(SETTINGS["results"]))
    MODELS = {
        stage: settings.model_of(SETTINGS, RESULTS, stage)
        for stage in SETTINGS["models"]
    }
    settings.export(SETTINGS, MODELS)
    if workflow.is_main_process:
        arrivals.refresh(RESULTS, Path(SETTINGS["dicom"]))
        decisions.adopt(SETTINGS["qc_decisions"], RESULTS)
    DECISIONS = decisions.of(RESULTS)
except VoxelwayError as error:
    refuse(error)


TEMPLATE = RESULTS.model("register", settings.template_label(SETTINGS))


wildcard_constraints:
    subject="[0-9A-Za-z]+",
    session="[0-9A-Za-z]+",


def indexed():
    """The manifest; Snakemake builds the rest of the DAG once the index has run."""
    return cohort.load(Path(checkpoints.index.get().output.manifest))


def statuses(stage):
    """Input function: the status of this stage for every unit of the cohort."""
    return lambda wildcards: [RESULTS.status(stage, unit) for unit in indexed().units]


def training_statuses(*splits):
    """Input function: the images that a model is trained on and chosen by."""
    return lambda wildcards: [
        RESULTS.status("superres", unit)
        for split in splits
        for unit in indexed().split(split)
    ]


def trained(stage):
    """The bundle that this cohort trains for the stage's method."""
    return RESULTS.model(stage, SETTINGS[stage]["method"])


def bundle(stage):
    """Input of inference: the bundle, where it is trained in the DAG; nothing otherwise."""
    return [trained(stage) / "metadata.json"] if MODELS[stage].trained else []


def decision_on(stage):
    """Params function: changes when people decided that this stage of the unit runs again."""
    return lambda wildcards: DECISIONS.mark(
        Unit(wildcards.subject, wildcards.session), stage
    )


def voxels(wildcards):
    """Voxels of the unit's common grid."""
    unit = Unit(wildcards.subject, wildcards.session)
    return cohort.load(RESULTS.manifest).isotropic_voxels(unit)


def memory(stage):
    """Resource function: megabytes from the image's size, more with each attempt."""
    return lambda wildcards, attempt: needs.memory_mb(stage, voxels(wildcards), attempt)


def runtime(stage):
    """Resource function: minutes from the image's size, more with each attempt."""
    return lambda wildcards, attempt: needs.minutes(stage, voxels(wildcards), attempt)


slice_of = partial(settings.slice_of, SETTINGS)
code_of = partial(settings.code_of, SETTINGS)


def failures(at_end_of_failed_run):
    """Print the table of failures; make this run fail when there are any."""
    results = str(RESULTS.root)
    if at_end_of_failed_run:
        RESULTS.complete.unlink(missing_ok=True)
        if not RESULTS.manifest.is_file():
            print(RESULTS.log("index").read_text(), file=sys.stderr)
            return
        # jobs that ended without a status kept the pages from being made: make them now
        subprocess.call(
            ["voxelway", "report", results, "--params", slice_of("report", "cohort")]
        )
    code = subprocess.call(["voxelway", "status", results, "--failures"])
    if code == 5 and not at_end_of_failed_run:
        print(
            "Some subjects failed; their QC pages say why (table above). The others are done."
        )
        sys.exit(code)


onsuccess:
    failures(at_end_of_failed_run=False)


onerror:
    failures(at_end_of_failed_run=True)
