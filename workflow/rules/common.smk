"""What the rules share. Functions only: the rules are in the files beside this one."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline import decisions
from pipeline.errors import VoxelwayError
from pipeline.fingerprint import packages
from pipeline.paths import Results, Unit
from workflow.lib import (
    arrivals,
    cohort,
    engine,
    environment,
    resources as needs,
    runs,
    settings,
)
from workflow.lib.engine import Said
from workflow.lib.jobs import UNIT, Jobs, sizes, with_models

environment.provide_voxelway()
engine.mend()


def refuse(error):
    """End with the coded paragraph instead of a traceback."""
    print(str(error), file=sys.stderr)
    sys.exit(int(error.exit))


try:
    settings.check_cache(workflow.workflow_settings.cache)
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
    shard="[0-9]+x[0-9]+of[0-9]+",


def indexed():
    """The manifest; Snakemake builds the rest of the DAG once the index has run."""
    return cohort.load(Path(checkpoints.index.get().output.manifest))


JOBS = Jobs(RESULTS, sizes(SETTINGS), indexed, with_models(SETTINGS))


def target(stage):
    """Output of a stage's rule: the unit's status, or a mark that all of a shard have theirs."""
    path = JOBS.target(stage)
    return touch(path) if JOBS.sharded(stage) else path


def every(stage):
    """Input function: what tells that this stage has ended for every unit of the cohort."""
    return lambda wildcards: JOBS.targets(stage, indexed().units)


def training_images(stage, *splits):
    """Input function: the images of a stage that a model is trained on and chosen by."""
    return lambda wildcards: JOBS.targets(
        stage, [unit for split in splits for unit in indexed().split(split)]
    )


def trained(stage):
    """The bundle that this cohort trains for the stage's method."""
    return RESULTS.model(stage, SETTINGS[stage]["method"])


def bundle(stage):
    """Input of inference: the bundle, where it is trained in the DAG; nothing otherwise."""
    return [trained(stage) / "metadata.json"] if MODELS[stage].trained else []


# A function is called for every job of a cohort: what is the same for all jobs, or a pattern of
# their wildcards, is given as it is.


def decision_on(stage):
    """Param: changes when people decided that the stage runs again for a unit."""
    if not DECISIONS.rows:
        return []

    def marks(wildcards):
        found = {u.name: DECISIONS.mark(u, stage) for u in JOBS.units(stage, wildcards)}
        return [f"{name}: {mark}" for name, mark in found.items() if mark]

    return marks


def names_of_units(stage):
    """Param: the units of a job, as `voxelway STAGE --unit` takes them."""
    if not JOBS.sharded(stage):
        return [UNIT.name]
    return lambda wildcards: [unit.name for unit in JOBS.units(stage, wildcards)]


def voxels(stage, wildcards):
    """Voxels of the common grid of each unit of a job."""
    known = cohort.load(RESULTS.manifest)
    return [known.isotropic_voxels(unit) for unit in JOBS.units(stage, wildcards)]


def needed(stage):
    """What a stage's needs are like: to take faces out, ingest finds the brain as preprocess."""
    defaces = SETTINGS["ingest"]["deface"]["method"] != "none"
    return "preprocess" if stage == "ingest" and defaces else stage


def memory(stage):
    """Resource function: megabytes from the size of the images, more with each attempt."""
    return lambda wildcards, attempt: needs.memory_mb(
        needed(stage), max(voxels(stage, wildcards), default=0), attempt
    )


def runtime(stage):
    """Resource function: minutes from the size of the images, more with each attempt."""
    return lambda wildcards, attempt: needs.minutes(
        needed(stage), voxels(stage, wildcards), attempt
    )


def gpus(stage):
    """Resource: a GPU for a method with a model to load, where a cluster gives them."""
    if stage not in JOBS.alone:
        return 0
    return lambda wildcards: int(workflow.non_local_exec)


def slice_of(stage, use="inference"):
    """Param: the stage's part of the configuration."""
    return Said(settings.slice_of(SETTINGS, stage, use))


def compared(find):
    """Only the process that plans compares parameters: jobs of a cluster need not find them out."""
    return find() if workflow.is_main_process else []


def code_of(stage):
    """Params: fingerprint of a stage's code, named as Snakemake's reasons show it."""
    return compared(
        lambda: Said(f"code of {stage} {settings.code_of(SETTINGS, stage)}")
    )


def packages_of(stage):
    """Params: versions of the packages that a stage rests on, each by itself in a reason."""
    found = compared(lambda: settings.packages_of(SETTINGS, stage))
    return [Said(f"{stage} with {package}") for package in found]


def code_of_modules(*modules):
    """Param: fingerprint of code that is no stage's."""
    named = " ".join(modules)
    return compared(
        lambda: Said(f"code of {named} {settings.code_of_modules(*modules)}")
    )


def packages_of_modules(*modules):
    """Params: versions of the packages that code which is no stage's rests on."""
    found = compared(lambda: packages(*modules))
    return [Said(f"{' '.join(modules)} with {package}") for package in found]


def model_of(stage):
    """Param: digest of the bundle that a stage uses; empty when it is made in the DAG."""
    digest = MODELS[stage].digest
    return Said(f"model of {stage} {digest}" if digest else "")


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
            [
                "voxelway",
                "report",
                results,
                "--params",
                str(slice_of("report", "cohort")),
            ]
        )
    code = subprocess.call(["voxelway", "status", results, "--failures"])
    if code == 5 and not at_end_of_failed_run:
        print(
            "Some subjects failed; their QC pages say why (table above). The others are done."
        )
        sys.exit(code)


onstart:
    try:
        if runs.begin(RESULTS, log):
            runs.again()
    except VoxelwayError as error:
        refuse(error)


onsuccess:
    failures(at_end_of_failed_run=False)


onerror:
    failures(at_end_of_failed_run=True)
