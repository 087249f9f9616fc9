"""The one factory of every path under the results folder.

Names follow BIDS and BIDS-derivatives. Subject and session labels are pseudonyms, given without
their ``sub-`` and ``ses-`` prefixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Stages that work on one subject's session, in the order of the workflow.
STAGES = (
    "ingest",
    "preprocess",
    "denoise",
    "superres",
    "register",
    "synthesize",
    "segment",
    "evaluate",
    "report",
    "export",
)

#: Stages whose results rest on those of a stage.
LATER = {
    "ingest": STAGES[1:],
    "preprocess": STAGES[2:],
    "denoise": STAGES[3:],
    "superres": STAGES[4:],
    "register": STAGES[6:],
    "synthesize": STAGES[6:],
    "segment": STAGES[7:],
    "evaluate": ("report",),
    "export": ("report",),
    "report": (),
}


@dataclass(frozen=True, order=True)
class Unit:
    """One session of one subject: what a job of the workflow works on."""

    subject: str
    session: str

    @property
    def name(self) -> str:
        """``sub-X_ses-Y``, the stem of every file of this unit."""
        return f"sub-{self.subject}_ses-{self.session}"

    @property
    def folder(self) -> Path:
        """``sub-X/ses-Y``."""
        return Path(f"sub-{self.subject}", f"ses-{self.session}")

    @classmethod
    def parse(cls, text: str) -> Unit:
        """Read ``sub-X_ses-Y`` or ``sub-X/ses-Y``."""
        subject, _, session = text.replace("/", "_").partition("_")
        if not subject.startswith("sub-") or not session.startswith("ses-"):
            raise ValueError(f"{text!r} is not of the form sub-X_ses-Y")
        return cls(subject.removeprefix("sub-"), session.removeprefix("ses-"))


@dataclass(frozen=True)
class Results:
    """Paths of one results folder."""

    root: Path

    @property
    def manifest(self) -> Path:
        """One row a series, see workflow/schemas/manifest.schema.yaml."""
        return self.root / "manifest.tsv"

    @property
    def quarantine(self) -> Path:
        """What ingest refused or left out, with codes."""
        return self.root / "quarantine.tsv"

    @property
    def participants(self) -> Path:
        """BIDS participants.tsv."""
        return self.root / "participants.tsv"

    @property
    def description(self) -> Path:
        """BIDS dataset_description.json of the results folder."""
        return self.root / "dataset_description.json"

    @property
    def status_table(self) -> Path:
        """One row a subject, session and stage."""
        return self.root / "status.tsv"

    @property
    def decisions(self) -> Path:
        """What people decided at the QC pages, as the stages act on it."""
        return self.root / "qc_decisions.tsv"

    @property
    def metrics(self) -> Path:
        """Long table of every number."""
        return self.root / "evaluate" / "metrics.tsv"

    @property
    def rawdata(self) -> Path:
        """The BIDS dataset."""
        return self.root / "rawdata"

    @property
    def private(self) -> Path:
        """Folder beside the results for the pseudonym key and the index of source files."""
        return self.root.with_name(self.root.name + "-private")

    def unit_source(self, unit: Unit) -> Path:
        """The source files of one unit (private: their names may hold a patient's)."""
        return self.private / "units" / f"{unit.name}.json"

    def derivatives(self, stage: str) -> Path:
        """``derivatives/STAGE``."""
        return self.root / "derivatives" / stage

    def anat(self, stage: str, unit: Unit) -> Path:
        """Folder of one unit's images of one stage; ingest writes to rawdata."""
        base = self.rawdata if stage == "ingest" else self.derivatives(stage)
        return base / unit.folder / "anat"

    def image(
        self,
        stage: str,
        unit: Unit,
        suffix: str,
        *,
        desc: str = "",
        space: str = "",
        extension: str = ".nii.gz",
    ) -> Path:
        """Path of one image: ``sub-X_ses-Y[_space-S][_desc-D]_SUFFIX.nii.gz``."""
        entities = [unit.name]
        if space:
            entities.append(f"space-{space}")
        if desc:
            entities.append(f"desc-{desc}")
        return self.anat(stage, unit) / ("_".join([*entities, suffix]) + extension)

    def transform(
        self, stage: str, unit: Unit, source: str, target: str, *, desc: str = "", extension: str
    ) -> Path:
        """Path of one spatial transform: ``sub-X_ses-Y_from-A_to-B_mode-image[_desc-D]_xfm``."""
        middle = f"_from-{source}_to-{target}_mode-image" + (f"_desc-{desc}" if desc else "")
        return self.anat(stage, unit) / f"{unit.name}{middle}_xfm{extension}"

    def status(self, stage: str, unit: Unit) -> Path:
        """Status of one unit in one stage; the output that the workflow watches."""
        return self.derivatives(stage) / unit.folder / f"{unit.name}_status.json"

    def made(self, stage: str, unit: Unit) -> Path:
        """What the unit's results of a stage were made from: tells whether they still hold."""
        return self.derivatives(stage) / unit.folder / f"{unit.name}_made.json"

    def shard(self, stage: str, name: str) -> Path:
        """Stands when every unit of a shard has its status: what the workflow watches there."""
        return self.derivatives(stage) / "shards" / name

    def begun(self, stage: str, unit: Unit) -> Path:
        """How often a job on several units began this one; stands while it is worked on."""
        return self.derivatives(stage) / unit.folder / f"{unit.name}_begun.json"

    def log(self, rule: str, job: Unit | str = "all") -> Path:
        """Log of one job: on a unit, on a shard by its name, on the cohort."""
        return self.root / "logs" / rule / f"{_job(job)}.log"

    def benchmark(self, rule: str, job: Unit | str = "all") -> Path:
        """Seconds and memory of one job."""
        return self.root / "benchmarks" / rule / f"{_job(job)}.tsv"

    def model(self, stage: str, name: str) -> Path:
        """Bundle that this cohort trained, or a template."""
        return self.root / "models" / stage / name

    def unit_metrics(self, unit: Unit) -> Path:
        """Numbers of one unit, rows of :attr:`metrics`."""
        return self.derivatives("evaluate") / unit.folder / f"{unit.name}_metrics.tsv"

    @property
    def cohort_page(self) -> Path:
        """The cohort's QC page."""
        return self.root / "qc" / "index.html"

    @property
    def complete(self) -> Path:
        """Exists while the cohort's page covers a run in which every job ended."""
        return self.root / "logs" / "cohort" / "complete"

    def page(self, unit: Unit) -> Path:
        """QC page of one unit."""
        return self.root / "qc" / f"{unit.name}.html"

    def dicom_seg(self, unit: Unit) -> Path:
        """DICOM SEG of one unit."""
        return self.derivatives("export") / unit.folder / f"{unit.name}_dseg.dcm"

    def dicom_report(self, unit: Unit) -> Path:
        """DICOM structured report of one unit's volumes."""
        return self.derivatives("export") / unit.folder / f"{unit.name}_volumes.dcm"


def _job(job: Unit | str) -> str:
    return job.name if isinstance(job, Unit) else job


def sidecar(path: Path) -> Path:
    """The JSON file that describes an image or transform."""
    name = path.name
    for extension in (".nii.gz", ".nii", ".mat", ".dcm", ".html", ".tsv"):
        if name.endswith(extension):
            return path.with_name(name.removesuffix(extension) + ".json")
    return path.with_name(name + ".json")
