"""`voxelway report`: pages of units, and the page and tables of the cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import config, runner
from pipeline.errors import Exit
from pipeline.ingest import manifest
from pipeline.paths import Results, Unit
from pipeline.report import stage
from pipeline.report.cohort import write_cohort


def write_pages(
    results: Results, params: Mapping[str, Any], units: Sequence[Unit], *, cohort: bool
) -> Exit:
    """Write pages.

    Args:
        results: the results folder.
        params: section ``report`` of the configuration with all its keys, and ``seed``.
        units: only these pages; all of the manifest and the cohort's page when empty.
        cohort: only the cohort's page and tables.

    Raises:
        VoxelwayError: E-MANIFEST when there is no sound manifest.
    """
    outcome = Exit.DONE
    everything = not units and not cohort
    known = [] if units else manifest.units(manifest.read_manifest(results.manifest))
    if not cohort:
        setup = runner.Setup(results, config.used_by("report", params, "inference"))
        outcome = runner.run_units(stage, units or known, setup)
    if cohort or everything:
        write_cohort(results, known, params)
    return outcome
