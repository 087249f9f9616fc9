"""``voxelway VERB``: the one command line; the workflow calls the same verbs.

Nothing heavy is imported here: each verb imports its stage when it runs.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pipeline import __version__, threads
from pipeline.errors import Exit, VoxelwayError, from_exception
from pipeline.pacs import verbs as pacs
from pipeline.verbs import VERBS, StageVerb

#: One thread a job keeps sums in one order; the workflow runs jobs side by side instead.
THREADS = {
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors have a code."""

    def error(self, message: str) -> NoReturn:
        """Report a wrong command line as E-USAGE, exit 2."""
        hint = f"`{self.prog} --help` tells the arguments"
        raise VoxelwayError("E-USAGE", message, hint=hint)


def build_parser() -> Parser:
    """The command line with all verbs."""
    parser = Parser(prog="voxelway", description="Medical imaging pipeline, stage by stage.")
    parser.add_argument("--version", action="version", version=f"voxelway {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    for name, verb in VERBS.items():
        _add_stage_verb(verbs, name, verb)
    _add_plain_verbs(verbs)
    pacs.add(verbs)
    return parser


def _add_stage_verb(verbs: Any, name: str, verb: StageVerb) -> None:
    parser = verbs.add_parser(name, help=verb.help, description=verb.help.capitalize() + ".")
    for positional in verb.positionals:
        parser.add_argument(positional, nargs="?", metavar=positional.upper())
    verb.options(parser)
    parser.add_argument("--method", help="method of the stage (`voxelway doctor` lists them)")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="BUNDLE",
        help="model of a learned method: a path, or the name of one that ships",
    )
    told = f"one row a file, columns {', '.join(verb.columns)}"
    parser.add_argument("--batch", type=Path, metavar="FILE.tsv", help=told)
    parser.add_argument("--config", type=Path, help="configuration whose section is used")
    parser.add_argument("--params", type=json.loads, default={}, help="section as JSON")
    parser.add_argument("--results", type=Path, help="work on units of this results folder")
    parser.add_argument("--unit", nargs="+", metavar="sub-X_ses-Y", help="units to work on")
    parser.add_argument(
        "--keep-going", action="store_true", help="record refused units in their status, exit 0"
    )
    parser.set_defaults(run=_run_stage_verb, stage_verb=verb)


def _add_plain_verbs(verbs: Any) -> None:
    phantom = verbs.add_parser("phantom", help="write the embedded cohort as DICOM, with truth")
    phantom.add_argument("output", type=Path, metavar="OUT_DIR")
    phantom.add_argument("--subjects", type=int, default=6)
    phantom.add_argument("--spacing", type=float, default=2.0, help="mm")
    phantom.add_argument("--seed", type=int, default=0)
    phantom.set_defaults(run=_run_phantom)

    index = verbs.add_parser("index", help="read the headers of a DICOM folder, gate, select")
    index.add_argument("dicom", type=Path, metavar="DICOM_DIR")
    index.add_argument("results", type=Path, metavar="RESULTS")
    index.add_argument("--explain", metavar="SUBJECT", help="why its series were taken or left")
    index.add_argument(
        "--private",
        action="store_true",
        help="with --explain: descriptions too, which may hold names",
    )
    index.set_defaults(run=_run_index)

    convert = verbs.add_parser("convert", help="DICOM folder to BIDS NIfTI, with quarantine.tsv")
    convert.add_argument("dicom", type=Path, metavar="DICOM_DIR")
    convert.add_argument("output", type=Path, metavar="OUT_DIR")
    convert.set_defaults(run=_run_convert)

    deidentify = verbs.add_parser("deidentify", help="DICOM that may leave (PS3.15 basic profile)")
    deidentify.add_argument("dicom", type=Path, metavar="DICOM_DIR")
    deidentify.add_argument("output", type=Path, metavar="OUT_DIR")
    deidentify.add_argument("--key", type=Path, metavar="FILE", help="RESULTS-private/pseudonym.key"
                            " for the pseudonyms of RESULTS; default OUT_DIR-private")  # fmt: skip
    _add_configuration(deidentify)
    deidentify.set_defaults(run=_run_deidentify)

    ingest = verbs.add_parser("ingest", help="convert the indexed series of units")
    ingest.add_argument("--results", type=Path, required=True)
    ingest.add_argument("--unit", nargs="+", required=True, metavar="sub-X_ses-Y")
    ingest.add_argument("--keep-going", action="store_true")
    ingest.set_defaults(run=_run_units_verb, stage="ingest")

    report = verbs.add_parser("report", help="QC pages of the subjects and of the cohort")
    report.add_argument("results", type=Path, metavar="RESULTS")
    report.add_argument("--unit", nargs="+", metavar="sub-X_ses-Y", help="only these pages")
    report.add_argument("--cohort", action="store_true", help="only the cohort's page and tables")
    report.add_argument("--keep-going", action="store_true")
    report.set_defaults(run=_run_report)

    compare = verbs.add_parser("compare", help="whether run B is better than run A, with a page")
    compare.add_argument("results_a", type=Path, metavar="RESULTS_A")
    compare.add_argument("results_b", type=Path, metavar="RESULTS_B")
    compare.add_argument("--out", type=Path, metavar="DIR", help="default RESULTS_B/qc/compare")
    compare.add_argument("--split", choices=("train", "val", "test"), help="only these subjects")
    compare.set_defaults(run=_run_compare)

    train = verbs.add_parser("train", help="train a model bundle")
    train.add_argument("stage", metavar="STAGE")
    train.add_argument("--method", help="learned method of the stage")
    train.add_argument("--config", type=Path, required=False, metavar="FILE")
    train.add_argument("--out", type=Path, required=True, metavar="BUNDLE")
    train.add_argument("--results", type=Path, help="results folder with the training subjects")
    train.set_defaults(run=_run_train)

    template = verbs.add_parser("template", help="write the registration template")
    template.add_argument("output", type=Path, metavar="OUT_DIR")
    template.set_defaults(run=_run_template)

    shown = verbs.add_parser("status", help="one line a subject and stage")
    shown.add_argument("results", type=Path, metavar="RESULTS")
    shown.add_argument("--failures", action="store_true", help="only what failed; exit 5 if any")
    shown.add_argument("--watch", action="store_true", help="tell of a run until it ends")
    shown.add_argument("--efficiency", action="store_true", help="asked for against used")
    shown.set_defaults(run=_run_status)

    crate = verbs.add_parser("crate", help="describe results as a Workflow Run RO-Crate")
    crate.add_argument("results", type=Path, metavar="RESULTS")
    crate.add_argument("--steps", action="store_true", help="each stage of each session too")
    crate.set_defaults(run=_run_crate)

    why = verbs.add_parser("why", help="what would run for a subject, and because of what")
    why.add_argument("subject", metavar="SUBJECT", help="sub-X or sub-X_ses-Y")
    why.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    why.add_argument("--results", help="results folder, instead of the configuration's")
    why.set_defaults(run=_run_why)

    doctor = verbs.add_parser("doctor", help="what this machine can run, what is missing")
    doctor.add_argument("--slurm", action="store_true", help="try the cluster, with small jobs")
    doctor.add_argument("--profile", type=Path, default=Path("slurm"), help="profile for --slurm")
    doctor.set_defaults(run=_run_doctor)
    for parser in (index, convert, ingest, report, compare, train, template):
        _add_configuration(parser)


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    if not any(action.dest == "config" for action in parser._actions):
        parser.add_argument("--config", type=Path, help="configuration whose section is used")
    parser.add_argument("--params", type=json.loads, default={}, help="section as JSON")


def _params(arguments: argparse.Namespace, stage: str, use: str = "inference") -> dict[str, Any]:
    from pipeline import config

    chosen: dict[str, Any] = {}
    if arguments.config is not None:
        whole = config.read(arguments.config)
        chosen = {**(whole.get(stage) or {}), "seed": whole.get("seed", 0)}
    chosen = {**chosen, **arguments.params}
    if getattr(arguments, "method", None):
        chosen["method"] = arguments.method
    seed = chosen.pop("seed", 0)
    complete = config.section(stage, chosen)
    if arguments.verb != "train":
        complete = config.used_by(stage, complete, use)
    return {**complete, "seed": seed}


def _model(arguments: argparse.Namespace, stage: str, params: Mapping[str, Any]) -> Path | None:
    """The bundle of a call: --model, that of the configuration, or the shipped one."""
    from pipeline import config, models

    given: Path | None = getattr(arguments, "model", None)
    if given is not None or "method" not in params:
        return None if given is None else models.located(stage, given)
    source = "shipped"
    if arguments.config is not None:
        chosen = (config.read(arguments.config).get("models") or {}).get(stage) or {}
        source = str(chosen.get("source", source))
    return models.chosen(stage, str(params["method"]), source)


def _stage(name: str) -> Any:
    return importlib.import_module(f"pipeline.{name}.stage")


def _run_stage_verb(arguments: argparse.Namespace) -> int:
    verb: StageVerb = arguments.stage_verb
    if arguments.results is not None:
        arguments.stage = verb.stage
        return _run_units_verb(arguments)
    return _run_file_verb(arguments, verb)


def _run_units_verb(arguments: argparse.Namespace) -> int:
    from pipeline import runner
    from pipeline.paths import Results, Unit

    if not arguments.unit:
        raise VoxelwayError("E-USAGE", "--results needs --unit")
    try:
        units = [Unit.parse(text) for text in arguments.unit]
    except ValueError as error:
        raise VoxelwayError("E-USAGE", str(error)) from error
    params = _params(arguments, arguments.stage)
    model = _model(arguments, arguments.stage, params)
    setup = runner.Setup(Results(arguments.results), params, model, arguments.keep_going)
    return runner.run_units(_stage(arguments.stage), units, setup)


def _run_file_verb(arguments: argparse.Namespace, verb: StageVerb) -> int:
    from pipeline import files, models, runner
    from pipeline.methods import stage_code
    from pipeline.task import Task

    if arguments.batch is not None:
        given = files.read_tsv(arguments.batch)
        missing = set(verb.positionals) - set(given[0] if given else ())
        if missing:
            raise VoxelwayError("E-USAGE", f"{arguments.batch} lacks the columns {missing}")
        common = {name: getattr(arguments, name) for name in verb.shared}
        common = {name: value for name, value in common.items() if value not in (None, False)}
        rows = [{**common, **{k: v for k, v in row.items() if v}} for row in given]
    else:
        row = {name: getattr(arguments, name) for name in (*verb.positionals, *verb.row_options)}
        missing = {name for name in verb.positionals if row[name] is None}
        if missing:
            raise VoxelwayError("E-USAGE", f"missing: {', '.join(sorted(missing)).upper()}")
        rows = [{name: value for name, value in row.items() if value not in (None, False)}]
    params = _params(arguments, verb.stage)
    stage = _stage(verb.stage)
    runner.seed_everything(int(params["seed"]))
    code = stage_code(verb.stage, params)
    model = _model(arguments, verb.stage, params)
    digest = models.identity(verb.stage, params, model)
    prepared = stage.prepare(params, model)
    function = getattr(stage, verb.function)

    overlap = len(rows) > 1 and bool(getattr(stage, "OVERLAP", False))

    def work(row: Mapping[str, Any]) -> Callable[[], None]:
        task = Task(verb.stage, params, code, digest, pending=[] if overlap else None)
        function(task, prepared, row)
        return task.flush

    first = verb.positionals[0]
    if arguments.batch is None:
        return runner.run_row(work, rows[0], first)
    return runner.run_rows(work, rows, column=first, overlap=overlap)


def _run_phantom(arguments: argparse.Namespace) -> int:
    from pipeline.phantom.cohort import write_cohort

    write_cohort(arguments.output, arguments.subjects, arguments.spacing, arguments.seed)
    return Exit.DONE


def _run_index(arguments: argparse.Namespace) -> int:
    from pipeline.ingest.explain import explain
    from pipeline.ingest.index import index_folder
    from pipeline.paths import Results

    params = _params(arguments, "ingest")
    results = Results(arguments.results)
    if arguments.explain:
        return explain(
            arguments.explain, arguments.dicom, results, params, private=arguments.private
        )
    return index_folder(arguments.dicom, results, params)


def _run_convert(arguments: argparse.Namespace) -> int:
    from pipeline.ingest.folder import convert_folder

    return convert_folder(arguments.dicom, arguments.output, _params(arguments, "ingest"))


def _run_deidentify(arguments: argparse.Namespace) -> int:
    from pipeline.deidentify.folder import deidentify_folder

    params = _params(arguments, "deidentify")
    return deidentify_folder(arguments.dicom, arguments.output, params, arguments.key)


def _run_report(arguments: argparse.Namespace) -> int:
    from pipeline.paths import Results
    from pipeline.report import cohort, pages

    results = Results(arguments.results)
    whole = _params(arguments, "report", "cohort")
    if not arguments.unit:
        return int(pages.write_pages(results, whole, [], cohort=arguments.cohort))
    arguments.stage = "report"
    code = _run_units_verb(arguments)
    cohort.refresh(results, whole)
    return code


def _run_compare(arguments: argparse.Namespace) -> int:
    from pipeline.compare.verb import compare

    seed = int(_params(arguments, "report")["seed"])
    roots = (arguments.results_a, arguments.results_b)
    return compare(*roots, arguments.out, arguments.split, seed)


def _run_train(arguments: argparse.Namespace) -> int:
    if importlib.util.find_spec(f"pipeline.{arguments.stage}") is None or (
        importlib.util.find_spec(f"pipeline.{arguments.stage}.train") is None
    ):
        raise VoxelwayError("E-USAGE", f"{arguments.stage!r} is no stage that is trained")
    module = importlib.import_module(f"pipeline.{arguments.stage}.train")
    params = _params(arguments, arguments.stage)
    threads.use_threads()
    return int(module.train(params, arguments.out, arguments.results))


def _run_template(arguments: argparse.Namespace) -> int:
    from pipeline.register.template import write_template

    write_template(arguments.output, _params(arguments, "register"))
    return Exit.DONE


def _run_status(arguments: argparse.Namespace) -> int:
    if arguments.efficiency:
        from workflow.lib.efficiency import print_table

        return print_table(arguments.results)
    if arguments.watch:
        from pipeline.watch import watch

        return watch(arguments.results)
    from pipeline.overview import print_status

    return print_status(arguments.results, failures=arguments.failures)


def _run_crate(arguments: argparse.Namespace) -> int:
    from pipeline.crate import write_crate

    return write_crate(arguments.results, arguments.steps)


def _run_why(arguments: argparse.Namespace) -> int:
    from workflow.lib.why import print_reasons

    return print_reasons(arguments.subject, arguments.config, arguments.results)


def _run_doctor(arguments: argparse.Namespace) -> int:
    from pipeline.doctor import print_findings

    return print_findings(arguments.profile if arguments.slurm else None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; errors are one paragraph with a code, never a traceback."""
    threads.announce()
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        arguments = build_parser().parse_args(argv)
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        coded = from_exception(error)
        if coded.code == "E-INTERNAL" and os.environ.get("VOXELWAY_TRACEBACK"):
            raise
        print(str(coded), file=sys.stderr)
        return coded.exit


if __name__ == "__main__":
    sys.exit(main())
