"""The verbs that call a stage: their arguments, in one table. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StageVerb:
    """A verb that works on one file, on a list of files or on units of a results folder."""

    stage: str
    help: str
    positionals: tuple[str, ...]
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    #: options that the file form hands to the stage, beside the positionals
    row_options: tuple[str, ...] = ()
    #: function of the stage module that serves the file form
    function: str = "run_file"
    #: row options whose value on the command line holds for every row of a batch without it
    shared: tuple[str, ...] = ()
    #: columns that only a batch has
    batch_only: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the table of a batch."""
        return (*self.positionals, *self.row_options, *self.batch_only)


def _spacing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--spacing", nargs=3, type=float, metavar=("X", "Y", "Z"), help="mm")


def _mask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mask", metavar="OUT_MASK", help="write the brain mask here")


def _transform(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--registration", required=True, metavar="OUT_DIR", help="of `register`")
    parser.add_argument("--labels", action="store_true", help="nearest neighbour, keep the type")
    parser.add_argument("--inverse", action="store_true", help="from fixed to moving")


def _target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="SUFFIX", help="contrast to make, as FLAIR")


def _doubt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uncertainty", metavar="OUT", help="write the entropy map here")
    parser.add_argument("--volumes", metavar="OUT.tsv", help="write the table of volumes here")


def _labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", metavar="FILE", help="dseg.tsv with names of the labels")


def _volumes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--volumes", metavar="OUT.dcm", help="write the report of volumes here")


VERBS: dict[str, StageVerb] = {
    "preprocess": StageVerb(
        "preprocess",
        "reorient, correct the bias field, find the brain, scale the intensities",
        ("input", "output"),
        _mask,
        ("mask",),
    ),
    "denoise": StageVerb("denoise", "estimate the noise and remove it", ("input", "output")),
    "superres": StageVerb(
        "superres", "thick slices to isotropic voxels", ("input", "output"), _spacing, ("spacing",),
        batch_only=("guide",),
    ),
    "register": StageVerb(
        "register",
        "affine and diffeomorphic registration, both directions",
        ("moving", "fixed", "output"),
    ),
    "transform": StageVerb(
        "register",
        "apply a registration to an image or to labels",
        ("input", "reference", "output"),
        _transform,
        ("registration", "labels", "inverse"),
        "run_transform",
        ("registration", "labels", "inverse"),
    ),
    "synthesize": StageVerb(
        "synthesize", "make a contrast that was not acquired", ("input", "output"), _target,
        ("target",), shared=("target",),
    ),
    "segment": StageVerb(
        "segment", "label tissues and lesions, or structures", ("input", "output"), _doubt,
        ("uncertainty", "volumes"),
    ),
    "evaluate": StageVerb(
        "evaluate", "compare with a reference", ("predicted", "reference", "output"), _labels,
        ("labels",),
    ),
    "export-seg": StageVerb(
        "export", "labels as DICOM SEG on their series, volumes as a report",
        ("labels", "series", "output"), _volumes, ("volumes",),
    ),
}  # fmt: skip
