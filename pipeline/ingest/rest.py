"""Images that the protocol leaves out, converted nevertheless where ``take`` is ``all``.

BIDS has no name for an image of unknown kind, so they stand in a folder of their own, which the
validator is told to ignore.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.ingest import policy, records
from pipeline.ingest.findings import Finding
from pipeline.ingest.patient import Candidate, Patient, Refusal, Rest, study_of
from pipeline.ingest.source import Source
from pipeline.paths import Results, Unit

#: Folder beside the subjects.
FOLDER = "unsorted"
#: Values of Modality that may be part of a file name; any other text may be anything.
MODALITIES = ("MR", "CT", "PT", "NM")


def judged(patient: Patient) -> list[tuple[str, Source]]:
    """Study and record of each image of a patient that the gate lets pass, repeats first.

    What it refuses is added to the patient's refusals.
    """
    passed = [(item.study, records.source_of(item)) for item in patient.repeats]
    for item in patient.rest:
        verdict = policy.judge(item.volume, patient.params, item.others, many=True)
        for finding in policy.merged(verdict.refused):
            told = f"{name_of(item)}: {finding.message}{policy.labels(patient.key, finding)}"
            what = Finding(finding.code, told, finding.paths)
            series, headers = item.volume.series.label, item.volume.headers
            patient.refusals.append(Refusal(what, patient.subject, series, headers))
        if not verdict.refused:
            record = records.source_of(Candidate(verdict.volume, name_of(item), verdict.notes))
            passed.append((study_of(item.volume), record))
    return passed


def path_of(dataset: Results, unit: Unit, source: Source) -> Path:
    """Where an image goes: repeats beside the image that was preferred, others apart."""
    if source.suffix.startswith("series-"):
        return dataset.rawdata / FOLDER / unit.folder / f"{unit.name}_{source.suffix}.nii.gz"
    return dataset.image("ingest", unit, source.suffix)


def name_of(item: Rest) -> str:
    """The part of the file name after subject and session: series, echo, modality."""
    volume = item.volume
    echo = f"_echo-{item.number}" if volume.echo is not None else ""
    modality = volume.common.modality
    kind = modality if modality in MODALITIES else "image"
    return f"series-{volume.series.label}{echo}_{kind}"
