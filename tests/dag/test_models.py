"""Which model a learned method uses, and what a new one, or a new subject, runs again."""

from __future__ import annotations

import json

import pytest

from .conftest import Project
from .test_reruns import EACH, NOTHING, append

LEARNED = '''"""A learned registration of the tests."""

LEARNED = True
LIGHT = True  # so that each subject is a job
'''
TRAIN = '''"""Training of the tests."""
'''
TRAINED = ("train_synthesize", "train_register")
#: What rests on registration.
AFTER_REGISTER = {
    **dict.fromkeys(("register", "segment", "evaluate", "export", "report"), 2),
    "cohort": 1,
}


def teach(project: Project) -> Project:
    """The project with a learned method of registration."""
    folder = project.root / "pipeline" / "register"
    (folder / "methods" / "toy.py").write_text(LEARNED)
    (folder / "train.py").write_text(TRAIN)
    return project


@pytest.fixture
def learned(finished: Project) -> Project:
    """With it, after a run without it."""
    return teach(finished)


def write_bundle(project: Project, place: str, sha: str) -> None:
    folder = project.root / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps({"weights": {"sha256": sha}}))


def choose(project: Project, source: str, more: str = "", method: str = "toy") -> None:
    project.configure(
        f"models:\n  register:\n    source: {source}\n"
        f"register:\n  method: {method}\n  training:\n    patience: 1\n{more}"
    )


def test_train_adds_one_job_that_a_new_subject_does_not_repeat(project: Project) -> None:
    learned = teach(project)
    choose(learned, "train")
    run = learned.snakemake()
    assert run.code == 0, run.text
    assert run.executed == {
        **{key: [""] for key in ("index", "template", *TRAINED, "cohort")},
        **{key: ["one", "two"] for key in EACH},
    }
    assert NOTHING in learned.snakemake("--dry-run").text

    learned.add_subject("three")
    run = learned.snakemake()
    assert run.code == 0, run.text
    assert run.executed == {"index": [""], "cohort": [""], **{key: ["three"] for key in EACH}}

    # how it is trained decides the model; where it is trained, and what inference does, does not
    choose(learned, "train", "    workers: 3\n    devices: 1\n")
    assert NOTHING in learned.snakemake("--dry-run").text
    choose(learned, "train", "  min_overlap: 0.5\n")
    assert "train_register" not in learned.snakemake("--dry-run").jobs
    choose(learned, "train", "    steps: 77\n")
    assert learned.snakemake("--dry-run").jobs.get("train_register") == 1


@pytest.mark.parametrize(
    ("source", "place"), [("shipped", "pipeline/bundles/register/toy"), ("own", "own")]
)
def test_another_bundle_runs_inference_and_what_rests_on_it(
    learned: Project, source: str, place: str
) -> None:
    write_bundle(learned, place, "a")
    choose(learned, source)
    run = learned.snakemake()
    assert run.code == 0, run.text
    assert "train_register" not in run.executed

    write_bundle(learned, place, "a")
    assert NOTHING in learned.snakemake("--dry-run").text
    choose(learned, source, "    steps: 77\n")
    assert NOTHING in learned.snakemake("--dry-run").text
    write_bundle(learned, place, "b")
    dry = learned.snakemake("--dry-run")
    assert dry.jobs == AFTER_REGISTER, dry.text
    assert "Params have changed since last execution" in dry.text


def test_a_method_that_is_not_learned_depends_on_no_model(learned: Project) -> None:
    write_bundle(learned, "own", "a")
    choose(learned, "own", method="affine")
    assert learned.snakemake().code == 0
    write_bundle(learned, "own", "b")
    append(learned, "pipeline/register/train.py", "EXTRA = 1\n")
    choose(learned, "train", method="affine")
    assert NOTHING in learned.snakemake("--dry-run").text


@pytest.mark.parametrize("source", ["shipped", "own"])
def test_no_such_bundle_is_refused_before_anything_runs(learned: Project, source: str) -> None:
    choose(learned, source)
    run = learned.snakemake()
    assert run.code != 0
    assert "E-MODEL-MISSING" in run.text and "Traceback" not in run.text
    assert not run.executed


def test_super_resolution_waits_for_the_model_that_the_cohort_trains(project: Project) -> None:
    folder = project.root / "pipeline" / "superres"
    (folder / "methods" / "toy.py").write_text(LEARNED)
    (folder / "train.py").write_text(TRAIN)
    project.configure("models:\n  superres:\n    source: train\nsuperres:\n  method: toy\n")
    run = project.snakemake()
    assert run.code == 0, run.text
    assert run.executed["train_superres"] == [""]
    assert NOTHING in project.snakemake("--dry-run").text
