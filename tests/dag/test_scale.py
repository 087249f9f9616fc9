"""How many jobs a cluster is sent, with the real rules and jobs that end at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.scale import simulated

SUBJECTS = 9
ONCE = {"template": 1, "train_synthesize": 1, "cohort": 1}


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (
            "",
            {
                "ingest+preprocess+denoise+superres": SUBJECTS,
                "register": SUBJECTS,
                "synthesize": SUBJECTS,
                "segment+evaluate+report+export": SUBJECTS,
            },
        ),
        (
            "shards: {register: 4, synthesize: 4, segment: 8}\n",
            {
                "ingest+preprocess+denoise+superres": SUBJECTS,
                "register": 3,
                "synthesize": 3,
                "segment": 2,
                "evaluate+report+export": SUBJECTS,
            },
        ),
    ],
    ids=["chains", "shards"],
)
def test_jobs_sent_to_a_cluster(
    tmp_path: Path, configuration: str, expected: dict[str, int]
) -> None:
    cohort = simulated.build(tmp_path, SUBJECTS, configuration)
    _, jobs = cohort.finish()
    assert jobs == {**expected, **ONCE}
    assert "Nothing to be done" in cohort.snakemake(*simulated.LOCAL, "--dry-run").text
