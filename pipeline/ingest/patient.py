"""What becomes of one patient's series: each volume gated, the best of each contrast chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.ingest import gate, parts, policy, resent, select
from pipeline.ingest.findings import Finding
from pipeline.ingest.headers import Header
from pipeline.ingest.volume import Series, Volume, volumes


@dataclass(frozen=True)
class Refusal:
    """Files of a series that are not used: why, and which."""

    finding: Finding
    subject: str
    series: str
    headers: tuple[Header, ...]


@dataclass(frozen=True)
class Candidate:
    """A volume that passed the gate."""

    volume: Volume
    suffix: str
    notes: tuple[Finding, ...]

    @property
    def study(self) -> str:
        """What sessions are told apart by."""
        return study_of(self.volume)


def study_of(volume: Volume) -> str:
    """What sessions are told apart by: the date, or the study where there is no date."""
    common = volume.common
    return common.study_date or f"study {common.study_uid}"


@dataclass(frozen=True)
class Rest:
    """A volume that no rule takes.

    Attributes:
        volume: its slices, of all time points.
        others: findings that rest on the other echoes of the series.
        number: place among the echoes, from 1.
    """

    volume: Volume
    others: tuple[Finding, ...] = ()
    number: int = 1


@dataclass
class Patient:
    """The series of one patient.

    Attributes:
        key: key of the pseudonyms.
        subject: pseudonym; empty where the series name no patient or several.
        params: the section ``ingest`` of the configuration.
        candidates: what passed the gate, in the order of the series.
        refusals: what did not, or is not asked for.
        repeats: candidates that a better one was preferred to, where all is to be converted.
        rest: what is not asked for, kept where ``take`` is ``all``.
    """

    key: bytes
    subject: str
    params: Mapping[str, Any]
    candidates: list[Candidate] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    repeats: list[Candidate] = field(default_factory=list)
    rest: list[Rest] = field(default_factory=list)
    #: volumes that went through the gate, whatever came of it
    judged: list[Volume] = field(default_factory=list)

    def add(self, label: str, headers: tuple[Header, ...], contents: resent.Contents) -> None:
        """Select and gate one series; objects of other kinds in it are set apart.

        Args:
            label: pseudonymous id of the series.
            headers: its files, in the order of instance number and path.
            contents: gives the checksum of a file, for files that claim to be the same object.
        """
        others = tuple(header for header in headers if not header.is_image)
        if others:
            self._refuse(Finding("D-NOT-IMAGE", "The object holds no image slices"), label, others)
        pictures = tuple(header for header in headers if header.is_image)
        if not pictures:
            return
        reason = select.left_out(Series(label, pictures), self.params)
        if reason is not None:
            self._refuse(reason, label, pictures)
            self._set_apart(Series(label, pictures))
            return
        sent = resent.sort(pictures, contents)
        if sent.copies:
            self._refuse(resent.copies_told(sent), label, sent.copies)
        if sent.differing:
            self._refuse(resent.difference_told(sent), label, sent.kept)
        else:
            self._add_images(Series(label, sent.kept))

    def _add_images(self, series: Series) -> None:
        found = volumes(series)
        suffixes = [select.suffix_of(volume, self.params) for volume in found]
        short = gate.same_length(found)
        for n, (volume, suffix) in enumerate(zip(found, suffixes, strict=True)):
            if suffix is None:
                what = Finding("D-CONTRAST", "No rule of the protocol takes it" + echo_told(volume))
                self._refuse(what, series.label, volume.headers)
                self._set_apart(series, n)
            else:
                verdict = policy.judge(volume, self.params, filter(None, [short.get(n)]))
                self._admit(verdict, suffix)

    def _set_apart(self, series: Series, *wanted: int) -> None:
        """Keep what the protocol leaves out: all volumes of a series, or some of them."""
        if self.params["take"] == "all":
            found = volumes(series)
            short = gate.same_length(found)
            for n in wanted or range(len(found)):
                self.rest.append(Rest(found[n], tuple(filter(None, [short.get(n)])), n + 1))

    def _admit(self, verdict: policy.Verdict, suffix: str) -> None:
        """Note a volume that the gate judged: a candidate, or a refusal a code."""
        volume = verdict.volume
        self.judged.append(volume)
        for finding in policy.merged(verdict.refused):
            told = f"{suffix}{echo_told(volume)}: {finding.message}"
            told += policy.labels(self.key, finding)
            what = Finding(finding.code, told, finding.paths)
            self._refuse(what, volume.series.label, volume.headers)
        if not verdict.refused:
            self.candidates.append(Candidate(volume, suffix, verdict.notes))

    def check_person(self, people: Iterable[int]) -> None:
        """Refuse all series when they are of people born on different days.

        Nobody can tell from the headers whose a series is, so that none of them is used. Names are
        no sign: they change, and are spelt in many ways.

        Args:
            people: checksums of the dates of birth of all files; 0 where there is none.
        """
        births = {person for person in people if person}
        if len(births) < 2:
            return
        what = f"{len(births)} dates of birth under one PatientID; correct it at the source"
        finding = Finding("D-SAME-ID", what)
        volumes = [item.volume for item in self.candidates] + [item.volume for item in self.rest]
        for volume in volumes:
            self._refuse(finding, volume.series.label, volume.headers)
        self.candidates.clear()
        self.rest.clear()

    def _refuse(self, finding: Finding, series: str, headers: Iterable[Header]) -> None:
        self.refusals.append(Refusal(finding, self.subject, series, tuple(headers)))

    def choose(self) -> dict[str, dict[str, Candidate]]:
        """The best candidate per study day and suffix; the others are left out."""
        self._refuse_parts()
        groups: dict[str, dict[str, list[Candidate]]] = {}
        for item in self.candidates:
            groups.setdefault(item.study, {}).setdefault(item.suffix, []).append(item)
        return {
            study: {suffix: self._best(items, suffix) for suffix, items in sorted(found.items())}
            for study, found in sorted(groups.items())
        }

    def _refuse_parts(self) -> None:
        """Take out what is a part of a stack only: by itself it would pass for a whole one."""
        found = parts.torn(self.judged)
        told = {id(self.judged[n]): finding for n, finding in found.items()}
        for item in self.candidates:
            if id(item.volume) in told:
                volume = item.volume
                self._refuse(told[id(volume)], volume.series.label, volume.headers)
        self.candidates = [item for item in self.candidates if id(item.volume) not in told]

    def _best(self, items: list[Candidate], suffix: str) -> Candidate:
        taken, others = select.best([item.volume for item in items], suffix, self.params)
        for volume, finding in others:
            self._refuse(finding, volume.series.label, volume.headers)
        place = {id(item.volume): item for item in items}
        if self.params["take"] == "all":
            self._repeat([place[id(volume)] for volume, _ in reversed(others)])
        found = place[id(taken)]
        if select.enhanced(taken, self.params):
            what = f"{suffix} was acquired with a contrast agent; there is none without"
            found = replace(found, notes=(*found.notes, Finding("D-CONTRAST-AGENT", what)))
        return found

    def _repeat(self, items: Iterable[Candidate]) -> None:
        """Name what a better image was preferred to, best first: with BIDS's `ce` and `run`."""
        counts = Counter({"": 1})
        for item in items:
            enhanced = "ce-agent_" if select.enhanced(item.volume, self.params) else ""
            counts[enhanced] += 1
            run = f"run-{counts[enhanced]:02d}_" if counts[enhanced] > 1 else ""
            self.repeats.append(replace(item, suffix=f"{enhanced}{run}{item.suffix}"))


def echo_told(volume: Volume) -> str:
    """Which echo of its series a volume is, in brackets; empty where there is only one."""
    return f" (echo of {volume.echo:g} ms)" if volume.echo is not None else ""
