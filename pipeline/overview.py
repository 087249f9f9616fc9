"""`voxelway status`: one line a subject and stage, and the table of failures."""

from __future__ import annotations

import textwrap
from pathlib import Path

from pipeline import files, status
from pipeline.errors import CODES, Exit, VoxelwayError
from pipeline.ingest import manifest
from pipeline.paths import STAGES, Results

MARKS = {"ok": "ok", "failed": "FAILED", "skipped": "skipped", "": "-"}


def print_status(root: Path, *, failures: bool) -> Exit:
    """Print the state of a run.

    Args:
        root: the results folder.
        failures: only what failed or was refused.

    Returns:
        ``Exit.SOME`` when a stage failed for any subject, else ``Exit.DONE``.
    """
    results = Results(root)
    if not results.manifest.is_file():
        hint = "Run the workflow, or `voxelway index` first"
        raise VoxelwayError("E-MANIFEST", "There is no manifest.tsv", where=str(root), hint=hint)
    units = manifest.units(manifest.read_manifest(results.manifest))
    statuses = status.collect(results, units)
    if not failures:
        _print_stages(results, statuses, len(units))
    _print_quarantine(results)
    return _print_failures(statuses)


def _print_stages(results: Results, statuses: list[status.Status], units: int) -> None:
    by_unit: dict[tuple[str, str], dict[str, status.Status]] = {}
    for item in statuses:
        by_unit.setdefault((item.subject, item.session), {})[item.stage] = item
    print(f"{units} sessions in {results.root}")
    print("subject\tsession\tstage\tstatus\tcode\tseconds")
    for (subject, session), stages in sorted(by_unit.items()):
        for stage in STAGES:
            found = stages.get(stage)
            mark = MARKS[found.status if found else ""]
            detail = f"{found.code}\t{found.seconds:.1f}" if found else "\t"
            print(f"sub-{subject}\tses-{session}\t{stage}\t{mark}\t{detail}")


def _print_quarantine(results: Results) -> None:
    if not results.quarantine.is_file():
        return
    refused = [
        row
        for row in files.read_tsv(results.quarantine)
        if not CODES.get(row["code"], CODES["E-INTERNAL"]).meaning.endswith("left out")
    ]
    if refused:
        print(f"\nQuarantined by ingest ({len(refused)}), see {results.quarantine}:")
    for row in refused:
        subject = f"sub-{row['subject']}" if row.get("subject") else "-"
        print(_wrapped(f"  {subject}  {row['code']}  {row['message']}"))


def _print_failures(statuses: list[status.Status]) -> Exit:
    failed = [item for item in statuses if item.status == "failed"]
    skipped = sum(item.status == "skipped" for item in statuses)
    if not failed:
        return Exit.DONE
    print(f"\nFailed ({len(failed)} stages; {skipped} later ones not run because of them):")
    for item in failed:
        name = f"sub-{item.subject}_ses-{item.session}"
        print(_wrapped(f"  {name}  {item.stage}  {item.code}  {item.message}"))
    return Exit.SOME


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 110, subsequent_indent="      ")
