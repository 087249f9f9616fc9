"""Stands in for `voxelway` in the DAG tests: writes what a stage writes, without computing.

It works on the copy of the project that PYTHONPATH names. A file `fail` beside the DICOM folder
with lines `fail STAGE SUBJECT` makes a stage refuse a subject; `crash` makes it end without a
status, `hang` not end at all, `nap` take its time, `eat` take more memory than it asked for once
the order is taken back.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path

from pipeline import decisions, files, made, overview, status
from pipeline.errors import VoxelwayError
from pipeline.ingest.manifest import Row, read_manifest, units, write_manifest
from pipeline.methods import stage_code
from pipeline.paths import Results, Unit

#: Bytes that `eat` takes.
GREED = 1_000_000_000


def row(subject: str, split: str, shard: int, place: int) -> Row:
    return Row(
        subject=subject, session="01", series="s" + subject, suffix="T1w", modality="MR",
        manufacturer="Phantom", field_strength=3.0, rows=100, columns=100, slices=100,
        spacing_x=1.0, spacing_y=1.0, spacing_z=1.0, thickness=1.0, files=100, voxels=10**6,
        split=split, shard=shard, digest="d", place=place,
    )  # fmt: skip


def index(dicom: Path, results: Results) -> None:
    if (dicom / "no-images").exists():
        raise VoxelwayError("E-DCM-NONE", "None of the 1 files is a DICOM image")
    known = {}
    if results.manifest.is_file():
        known = {item.subject: item for item in read_manifest(results.manifest)}
    subjects = sorted(path.name for path in dicom.iterdir())
    shard = 1 + max((item.shard for item in known.values()), default=-1)
    new = [name for name in subjects if name not in known]
    arrived = {
        name: row(name, "test" if known else "train", shard, n) for n, name in enumerate(new)
    }
    rows = [known.get(name) or arrived[name] for name in subjects]
    for item in rows:
        listing = {path.name: path.stat().st_size for path in (dicom / item.subject).iterdir()}
        files.write_text_if_changed(results.unit_source(item.unit), json.dumps(listing))
    folders = [dicom, *(path for path in dicom.iterdir() if path.is_dir())]
    ages = {str(path.resolve()): path.stat().st_mtime_ns for path in folders}
    files.write_json(results.private / "dirs.json", ages)
    files.write_text(results.quarantine, "code\tmessage\tsubject\tseries\tfiles\n")
    files.write_text(results.participants, "participant_id\n")
    write_manifest(results.manifest, rows)


def stage(name: str, results: Results, unit: Unit, orders: list[str], rest: list[str]) -> None:
    made.clear(results, unit, name)
    params = json.loads(rest[rest.index("--params") + 1])
    model = ""
    # imported where they are needed: a job of the tests is mostly the start of its interpreter
    if name == "report":
        from pipeline import config

        params = config.used_by(name, params, "inference")
    if "--model" in rest:
        from pipeline import models

        model = models.digest(Path(rest[rest.index("--model") + 1]))
    now = made.basis(
        results, unit, name, params, code=stage_code(name, params), model=model,
        decision=decisions.of(results).mark(unit, name),
    )  # fmt: skip
    obey(orders, f"{name} {unit.subject}")
    before = ["ingest", "preprocess", "denoise", "superres", "register", "segment"]
    blocked = None
    if name in before:
        blocked = status.blocked_by(results, unit, before[: before.index(name)][-1:])
    if blocked:
        outcome = status.Status(unit.subject, "01", name, "skipped", "E-UPSTREAM")
    elif f"fail {name} {unit.subject}" in orders:
        outcome = status.Status(unit.subject, "01", name, "failed", "E-MASK-EMPTY", "Empty.")
    else:
        outcome = status.Status(unit.subject, "01", name, "ok")
        made.write(results, unit, now, outcome)
    status.write(results, unit, outcome)


def given() -> list[str]:
    return Path("orders").read_text().splitlines() if Path("orders").is_file() else []


def obey(orders: list[str], work: str) -> None:
    """Do what was ordered for this stage of this subject, before its work; tell which process."""
    if f"crash {work}" in orders:
        sys.exit(4)
    lengths = {f"hang {work}": 600, f"eat {work}": 600, f"nap {work}": 5}
    for order in lengths.keys() & set(orders):
        Path(f"{work.replace(' ', '-')}.pid").write_text(str(os.getpid()))
        greedy = order.startswith("eat")
        # nobody could ask a process that is killed at once what it was
        while greedy and order in given():
            time.sleep(0.1)
        much = b"x" * (GREED if greedy else 0)
        time.sleep(lengths[order])
        del much


def cohort(results: Results) -> None:
    everything = status.collect(results, units(read_manifest(results.manifest)))
    status.write_table(results, everything)
    files.write_text(results.cohort_page, f"<p>{len(everything)}</p>")
    files.write_text(results.metrics, "subject\n")


def main(argv: list[str]) -> None:
    verb, rest = argv[0], argv[1:]
    orders = given()
    if verb == "index":
        try:
            index(Path(rest[0]), Results(Path(rest[1])))
        except VoxelwayError as error:
            print(str(error), file=sys.stderr)
            sys.exit(int(error.exit))
    elif verb == "status":
        sys.exit(overview.print_status(Path(rest[0]), failures="--failures" in rest))
    elif verb == "template":
        files.write_text(Path(rest[0]) / "description.json", "{}")
    elif verb == "train":
        files.write_text(Path(rest[rest.index("--out") + 1]) / "metadata.json", "{}")
    elif "--unit" in rest:
        folder = rest[rest.index("--results") + 1] if "--results" in rest else rest[0]
        name = verb.removesuffix("-seg")
        units = itertools.takewhile(
            lambda text: text.startswith("sub-"), rest[rest.index("--unit") + 1 :]
        )
        for text in units:
            stage(name, Results(Path(folder)), Unit.parse(text), orders, rest)
    elif verb == "report":
        cohort(Results(Path(rest[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
