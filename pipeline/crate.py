"""A Workflow Run RO-Crate of a results folder: what ran, with what, on what, giving what.

The crate is the results folder itself: its description is ``ro-crate-metadata.json`` there, nothing
is copied but the workflow's own text. Profiles: Workflow Run Crate, and with the steps Provenance
Run Crate (Leo et al. 2024, doi:10.1371/journal.pone.0309210).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import __version__, files, progress, status
from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest.manifest import read_manifest, units
from pipeline.paths import STAGES, Results, Unit, sidecar

if TYPE_CHECKING:
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

DESCRIPTION = "ro-crate-metadata.json"
#: Where the text of the workflow is kept in the results.
WORKFLOW = "logs/workflow"
PROFILES = {
    "process": "https://w3id.org/ro/wfrun/process/0.5",
    "workflow": "https://w3id.org/ro/wfrun/workflow/0.5",
    "provenance": "https://w3id.org/ro/wfrun/provenance/0.5",
    "crate": "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
}
#: What a run gives for the whole cohort.
COHORT = (
    "manifest.tsv",
    "quarantine.tsv",
    "participants.tsv",
    "status.tsv",
    "dataset_description.json",
    "evaluate/metrics.tsv",
    "qc/index.html",
)
TERMS = "As the images that they were made from; ask who gave them to you"


def write_crate(root: Path, steps: bool) -> int:
    """Describe a results folder; what an earlier call wrote is replaced.

    Args:
        root: results folder.
        steps: whether each stage of each session is an action of its own, with the hashes of its
            files; about 3 kB each.

    Raises:
        VoxelwayError: E-CONFIG-PATH for a folder that holds no results, E-DIR-WRITE.
    """
    place = Results(root)
    if not place.manifest.is_file():
        hint = "Give the results folder of a run"
        raise VoxelwayError("E-CONFIG-PATH", "No manifest.tsv", where=str(root), hint=hint)
    crate = _begun(place, steps)
    found = status.collect(place, units(read_manifest(place.manifest)))
    _run(crate, place, found)
    if steps:
        for one in progress.shown(found, len(found), "crate", unit="action"):
            _step(crate, place, one)
    # the graph's order follows from the run alone, so that the same run gives the same file
    files.write_json(place.root / DESCRIPTION, crate.metadata.generate())
    return Exit.DONE


def _begun(place: Results, steps: bool) -> ROCrate:
    """The crate with the workflow and the software that ran it."""
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate()
    crate.name = "Results of a Voxelway run"
    crate.description = "Pseudonymous: no name, date of birth or original identifier is in it"
    crate.license = TERMS
    names = ["process", "workflow", *(["provenance"] if steps else []), "crate"]
    profiles = [
        crate.add(ContextEntity(crate, PROFILES[name], {"@type": "CreativeWork", "name": name}))
        for name in names
    ]
    crate.root_dataset["conformsTo"] = profiles
    kept = _copied(place)
    workflow = crate.add_workflow(
        str(kept), f"{WORKFLOW}/Snakefile", main=True, lang="snakemake",
        properties={"name": "Voxelway", "version": __version__},
    )  # fmt: skip
    workflow["hasPart"] = [_tool(crate, stage) for stage in STAGES]
    return crate


def _copied(place: Results) -> Path:
    """The workflow's text beside the logs."""
    source = Path(__file__).parents[1]
    target = place.root / WORKFLOW
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "Snakefile", target / "Snakefile")
    return target / "Snakefile"


def _tool(crate: ROCrate, stage: str) -> ContextEntity:
    from rocrate.model.contextentity import ContextEntity

    known = crate.get(f"#voxelway-{stage}")
    if known is not None:
        return known
    told = {
        "@type": "SoftwareApplication",
        "name": f"voxelway {stage}",
        "softwareVersion": __version__,
    }
    return crate.add(ContextEntity(crate, f"#voxelway-{stage}", told))


def _run(crate: ROCrate, place: Results, found: Iterable[status.Status]) -> None:
    """The run as one action: from the manifest to what the cohort gets."""
    made = [_file(crate, place, name) for name in COHORT if (place.root / name).is_file()]
    ends = [_times(place, one) for one in found]
    times = (
        {"startTime": min(start for start, _ in ends), "endTime": max(end for _, end in ends)}
        if ends
        else {}
    )
    if ends:
        crate.datePublished = times["endTime"]
    failed = any(one.status == "failed" for one in found)
    crate.add_action(
        crate.mainEntity,
        identifier="#run",
        object=[made[0]],
        result=made[1:],
        properties={
            "name": "Run of the workflow",
            "actionStatus": {"@id": f"http://schema.org/{_state(failed)}"},
            **times,
        },
    )


def _step(crate: ROCrate, place: Results, one: status.Status) -> None:
    """A stage of a session: inputs and outputs with their SHA-256."""
    start, end = _times(place, one)
    outputs = [_file(crate, place, name, digest) for name, digest in sorted(one.outputs.items())]
    inputs = [_file(crate, place, name, digest) for name, digest in _inputs(place, one)]
    name = f"{one.stage} of sub-{one.subject}_ses-{one.session}"
    properties: dict[str, Any] = {
        "name": name,
        "startTime": start,
        "endTime": end,
        "actionStatus": {"@id": f"http://schema.org/{_state(one.status == 'failed')}"},
    }
    if one.code:
        properties["error"] = f"{one.code}: {one.message}"
    crate.add_action(
        _tool(crate, one.stage),
        identifier=f"#{one.stage}-{one.subject}-{one.session}",
        object=inputs,
        result=outputs,
        properties=properties,
    )


def _inputs(place: Results, one: status.Status) -> list[tuple[str, str]]:
    """Inputs that the sidecars of a stage's outputs name, each once."""
    found: dict[str, str] = {}
    for name in one.outputs:
        path = sidecar(place.root / name)
        if path.is_file():
            told = files.read_json(path).get("Inputs", {})
            found |= {str(key): str(value) for key, value in told.items()}
    return sorted((name, digest) for name, digest in found.items() if (place.root / name).is_file())


def _file(crate: ROCrate, place: Results, name: str, digest: str = "") -> Any:
    known = crate.get(name)
    if known is not None:
        return known
    properties: dict[str, Any] = {"name": Path(name).name}
    if digest:
        properties["sha256"] = digest
    else:
        properties["contentSize"] = str((place.root / name).stat().st_size)
    return crate.add_file(str(place.root / name), name, properties=properties)


def _times(place: Results, one: status.Status) -> tuple[str, str]:
    """When a stage began and ended for a session: its status was written last."""
    path = place.status(one.stage, Unit(one.subject, one.session))
    end = path.stat().st_mtime
    return _when(end - one.seconds), _when(end)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _state(failed: bool) -> str:
    return "FailedActionStatus" if failed else "CompletedActionStatus"
