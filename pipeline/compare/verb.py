"""`voxelway compare RESULTS_A RESULTS_B`."""

from __future__ import annotations

from pathlib import Path

from pipeline.compare import changes, outcome, page, pairs, runs, training
from pipeline.errors import Exit, VoxelwayError
from pipeline.paths import Results


def compare(root_a: Path, root_b: Path, out: Path | None, split: str | None, seed: int) -> Exit:
    """Compare two runs and write the page.

    Args:
        root_a: results folder of the run that B is measured against.
        root_b: results folder of the other run.
        out: folder for the tables and the page; ``qc/compare`` of run B when None.
        split: compare subjects of ``train``, ``val`` or ``test`` only.
        seed: of the bootstrap.

    Raises:
        VoxelwayError: E-COMPARE-SAME (one folder twice), E-COMPARE-METRICS (a folder without
            numbers), E-COMPARE-NONE (no case in both), E-MANIFEST, E-FILE-READ, E-DIR-WRITE.
    """
    a, b = Results(root_a), Results(root_b)
    if root_a.resolve() == root_b.resolve():
        hint = "Give the results folders of two runs"
        raise VoxelwayError("E-COMPARE-SAME", "Both are one folder", where=str(root_a), hint=hint)
    found = _comparison(a, b, split, seed)
    folder = out or b.cohort_page.parent / "compare"
    verdict = page.write(found, folder)
    print(f"{verdict.heading}.", *verdict.sentences)
    print(folder / "index.html")
    return Exit.DONE


def _comparison(a: Results, b: Results, split: str | None, seed: int) -> page.Comparison:
    """Pair, test, and gather what the page tells beside."""
    left, right = pairs.read(a), pairs.read(b)
    if split is not None:
        left, right = (training.only(numbers, split, (a, b)) for numbers in (left, right))
    groups = pairs.pair(left, right)
    units = sorted({case.unit for group in groups for case in group.cases})
    if not units:
        what = "No number of a session stands in both runs"
        what += f" for the split {split}" if split else ""
        hint = "Sessions pair by pseudonym: both runs need the same pseudonym key and DICOM"
        raise VoxelwayError("E-COMPARE-NONE", what, where=f"{a.root} and {b.root}", hint=hint)
    rows = outcome.compare(groups, seed)
    return page.Comparison(
        a,
        b,
        rows,
        changes.changes(rows),
        runs.differences(a, b, units),
        runs.unpaired(groups, a, b),
        runs.other_inputs(a, b, units),
        [*training.seen(a, "A", units), *training.seen(b, "B", units)],
    )
