"""Each key of the configuration, each input, the model: exactly the rules that must run.

What a stage's command rests on stands in its parameters, so these are compared for every key,
without a run; that Snakemake acts on them, and on inputs, is shown by dry runs of some.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import config as configuration
from pipeline.paths import STAGES, Results
from workflow.lib import settings as run_settings
from workflow.lib.jobs import sizes

from .conftest import Project
from .test_reruns import AFTER_DENOISE, AFTER_SEGMENT, NOTHING, append

#: Rules whose parameters hold a section, besides the stage's own, written down by hand.
ALSO = {
    "ingest": {"index"},
    "denoise": {"train_denoise"},
    "superres": {"train_superres"},
    "register": {"train_register"},
    "synthesize": {"train_synthesize"},
    "segment": {"train_segment"},
    "report": {"cohort"},
}
#: Keys outside of the stages' sections → stages whose parameters they change.
ELSEWHERE: dict[str, set[str]] = {
    "dicom": set(),
    "results": set(),
    "qc_decisions": set(),
    "models": set(),
    "shards": set(),
}


def keys(part: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every leaf of the schema."""
    for name, inner in part["properties"].items():
        if inner.get("type") == "object" and inner.get("properties"):
            yield from keys(inner, (*path, name))
        else:
            yield (*path, name)


def changed(whole: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The configuration with another value at one key, sensible or not."""
    other = copy.deepcopy(whole)
    part = other
    for name in path[:-1]:
        part = part.setdefault(name, {})
    part[path[-1]] = ["another", part.get(path[-1])]
    return other


def of_rules(whole: dict[str, Any]) -> dict[str, str]:
    """Rule → the slice of the configuration in its parameters, as the rule files ask for it."""
    found = {stage: run_settings.slice_of(whole, stage) for stage in STAGES}
    found["index"] = found["ingest"]
    for stage in ("denoise", "superres", "register", "synthesize", "segment"):
        found[f"train_{stage}"] = run_settings.slice_of(whole, stage, "training")
    found["cohort"] = run_settings.slice_of(whole, "report", "cohort")
    return found


def schema_at(path: tuple[str, ...]) -> list[dict[str, Any]]:
    part = configuration.schema()
    found = []
    for name in path:
        part = part["properties"][name]
        found.append(part)
    return found


def expected(path: tuple[str, ...]) -> set[str]:
    """The rules that a key must run, by the section it is in and the use that the schema gives."""
    section = path[0]
    if path == ("seed",):
        return {*STAGES, "index", "cohort", *(rule for rules in ALSO.values() for rule in rules)}
    if section not in STAGES:
        return ELSEWHERE.get(section, set())
    uses = {part["use"] for part in schema_at(path) if "use" in part}
    rules = {section, *ALSO.get(section, ())}
    kinds = dict.fromkeys(rules, "inference")
    kinds |= {rule: "training" for rule in rules if rule.startswith("train_")}
    kinds |= {"cohort": "cohort"} if "cohort" in rules else {}
    return {rule for rule in rules if all(use == kinds[rule] for use in uses)}


WHOLE = configuration.resolve({"dicom": "d", "results": "r"})
KEYS = list(keys(configuration.schema()))


def test_every_key_is_looked_at() -> None:
    assert {path[0] for path in KEYS} >= {*STAGES, "seed", "shards", "models", "dicom", "results"}
    assert len(KEYS) > 150


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_a_key_runs_what_reads_it_and_nothing_else(path: tuple[str, ...]) -> None:
    before, after = of_rules(WHOLE), of_rules(changed(WHOLE, path))
    assert {rule for rule in before if before[rule] != after[rule]} == expected(path)


def test_the_size_of_a_job_decides_no_result() -> None:
    sharded = configuration.resolve(
        {"dicom": "d", "results": "r", "shards": dict.fromkeys(WHOLE["shards"], 4)}
    )
    assert sizes(sharded) != sizes(WHOLE)
    assert of_rules(sharded) == of_rules(WHOLE)


#: A function of each of these files is called by these stages, by hand.
EDITED = {
    "pipeline/denoise/methods/collaborative.py": AFTER_DENOISE,
    "pipeline/segment/methods/em.py": AFTER_SEGMENT,
    "pipeline/segment/methods/atropos.py": {},
    "pipeline/doctor.py": {},
}


@pytest.mark.parametrize("name", EDITED)
def test_a_function_of_a_module(finished: Project, name: str) -> None:
    append(finished, name, "\n\ndef extra() -> int:\n    return 1\n")
    dry = finished.snakemake("--dry-run")
    assert dry.jobs == EDITED[name], dry.text


def test_the_input_of_one_subject(finished: Project) -> None:
    source = Results(finished.root / "results").private / "units" / "sub-one_ses-01.json"
    source.write_text(source.read_text() + "\n")
    dry = finished.snakemake("--dry-run")
    once = ("ingest", "preprocess", "denoise", "superres", "register", "train_synthesize", "cohort")
    # what is trained on the subject is made again, and with it what rests on that, for both
    both = ("synthesize", "segment", "evaluate", "export", "report")
    expected = {**dict.fromkeys(once, 1), **dict.fromkeys(both, 2)}
    assert {rule: dry.jobs.get(rule, 0) for rule in expected} == expected, dry.text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--cores", "1"),
        ("--profile", "workflow/profiles/slurm"),
        ("--default-resources", "tmpdir='/tmp/another'"),
    ],
    ids=" ".join,
)
def test_where_it_runs_runs_nothing(finished: Project, arguments: tuple[str, ...]) -> None:
    assert NOTHING in finished.snakemake("--dry-run", *arguments).text


def test_another_folder_for_temporary_files(
    finished: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert NOTHING in finished.snakemake("--dry-run").text
