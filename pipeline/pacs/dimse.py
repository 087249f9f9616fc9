"""An archive by DIMSE: C-FIND, C-GET, C-MOVE and C-STORE (DICOM PS3.4, annexes B and C).

Study Root model throughout. Instances are taken and sent as the bytes they are; nothing is
transcoded on our side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pynetdicom import AllStoragePresentationContexts, _config, build_context, build_role, evt
from pynetdicom._globals import ALL_TRANSFER_SYNTAXES

from pipeline.errors import VoxelwayError
from pipeline.pacs.archive import OF_INSTANCE, OF_SERIES, OF_STUDY, Item, Sent, SeriesRef, Take
from pipeline.pacs.association import associate, at_once, broke_off, ended, local_entity
from pipeline.pacs.pace import Throttle
from pipeline.pacs.peer import Peer

#: SOP classes of the Study Root model.
FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
#: Transfer syntaxes in which instances are taken by C-GET: uncompressed and deflated, RLE, JPEG,
#: JPEG-LS, JPEG 2000 and HTJ2K.
SYNTAXES = tuple(
    f"1.2.840.10008.1.2{end}"
    for end in ("", ".1", ".1.99", ".2", ".5", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81",
                ".4.90", ".4.91", ".4.201", ".4.202", ".4.203")
)  # fmt: skip
#: SOP classes that are expected where the archive does not name instances: MR, enhanced MR, CT,
#: enhanced CT, PET, secondary capture, segmentation.
CLASSES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("4", "4.1", "2", "2.1", "128", "7", "66.4")
)
#: An association has at most 128 presentation contexts (PS3.8 9.3.2.2), one is for the retrieval.
CLASSES_AT_ONCE = 127 // len(SYNTAXES)
CONTEXTS_AT_ONCE = 128
#: Instances that one request names.
NAMES_AT_ONCE = 100
SUCCESS, PENDING, WARNINGS = 0x0000, (0xFF00, 0xFF01), range(0xB000, 0xC000)
OUT_OF_RESOURCES = range(0xA700, 0xA800)
NO_RESOURCE, NOT_WANTED = 0xA700, 0xA900


class Dimse:
    """One archive; the association for queries stays open between them.

    Raises:
        VoxelwayError: E-PACS-UNREACHABLE when the port for C-MOVE is taken, E-PACS-TLS.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._throttle = Throttle(peer.rate)
        self._query: Any = None
        self._take: Take | None = None
        self._fault: VoxelwayError | None = None
        self._server: Any = self._listen() if peer.via == "move" else None

    # queries

    def studies(self, keys: Mapping[str, str]) -> list[dict[str, str]]:
        """As :meth:`Archive.studies`."""
        return self._find("STUDY", keys, OF_STUDY)

    def series(self, study: str, keys: Mapping[str, str]) -> list[dict[str, str]]:
        """As :meth:`Archive.series`."""
        wanted = {"StudyInstanceUID": study}
        if "SeriesInstanceUID" in keys:
            wanted["SeriesInstanceUID"] = keys["SeriesInstanceUID"]
        return self._find("SERIES", wanted, OF_SERIES)

    def instances(self, ref: SeriesRef) -> dict[str, str]:
        """As :meth:`Archive.instances`."""
        wanted = {"StudyInstanceUID": ref.study, "SeriesInstanceUID": ref.series}
        found = self._find("IMAGE", wanted, OF_INSTANCE)
        return {
            item["SOPInstanceUID"]: item.get("SOPClassUID", "")
            for item in found
            if item.get("SOPInstanceUID")
        }

    def _find(
        self, level: str, keys: Mapping[str, str], names: Sequence[str]
    ) -> list[dict[str, str]]:
        identifier = _identifier(level, {**dict.fromkeys(names, ""), **keys})
        answers = []
        for status, answer in self._querying().send_c_find(identifier, FIND):
            code = _status(status, self.peer)
            if code in PENDING and answer is not None:
                answers.append({name: _text(answer, name) for name in names})
            elif code in PENDING:
                # left out, a study would be missing and nobody told
                what = "An answer of the archive to a query can't be read"
                raise VoxelwayError("E-PACS-QUERY", what, where=f"archive {self.peer.name}")
            elif code != SUCCESS:
                raise _refused("query", code, self.peer)
        return answers

    def _querying(self) -> Any:
        if self._query is None or not self._query.is_established:
            self._query = associate(self.peer, [build_context(FIND)])
        return self._query

    # retrieval

    def fetch(self, ref: SeriesRef, wanted: Mapping[str, str], whole: bool, take: Take) -> None:
        """As :meth:`Archive.fetch`."""
        self._take, self._fault = take, None
        place = {"StudyInstanceUID": ref.study, "SeriesInstanceUID": ref.series}
        try:
            for classes in _chunks(sorted(set(filter(None, wanted.values()))), CLASSES_AT_ONCE):
                names = [uid for uid, kind in wanted.items() if not kind or kind in classes]
                all_of_it = whole and len(names) == len(wanted)
                for some in [None] if all_of_it else _chunks(names, NAMES_AT_ONCE):
                    self._retrieve(place, some, classes or CLASSES)
        finally:
            self._take = None
        if self._fault is not None:
            raise self._fault

    def _retrieve(
        self, place: Mapping[str, str], names: Sequence[str] | None, classes: Sequence[str]
    ) -> None:
        level = "SERIES" if names is None else "IMAGE"
        identifier = _identifier(level, place)
        if names is not None:
            identifier.SOPInstanceUID = list(names)
        with ended(self._retrieving(classes)) as association:
            if self._server is None:
                answers = association.send_c_get(identifier, GET)
            else:
                answers = association.send_c_move(identifier, self.peer.destination, MOVE)
            self._follow(answers)

    def _follow(self, answers: Iterable[tuple[Any, Any]]) -> None:
        for status, _ in answers:
            if self._fault is not None:
                raise self._fault
            code = _status(status, self.peer)
            if code not in PENDING and code != SUCCESS and code not in WARNINGS:
                raise _refused("retrieval", code, self.peer)

    def _retrieving(self, classes: Sequence[str]) -> Any:
        if self._server is not None:
            return associate(self.peer, [build_context(MOVE)])
        pairs = [build_context(kind, syntax) for kind in classes for syntax in SYNTAXES]
        roles = [build_role(kind, scp_role=True) for kind in classes]
        handlers = [(evt.EVT_C_STORE, self._on_store)]
        return associate(self.peer, [build_context(GET), *pairs], roles, handlers)

    def _listen(self) -> Any:
        """Be the destination of C-MOVE: every storage class, every transfer syntax."""
        entity = local_entity(self.peer)
        entity.ae_title = self.peer.destination
        entity.require_called_aet = True
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
        tls = self.peer.server_tls() if self.peer.tls else None
        handlers: list[Any] = [(evt.EVT_C_STORE, self._on_store), (evt.EVT_CONN_OPEN, at_once)]
        place = (self.peer.move_host, self.peer.move_port)
        try:
            return entity.start_server(place, block=False, ssl_context=tls, evt_handlers=handlers)
        except OSError as error:
            what = f"We can't listen on port {self.peer.move_port} ({error.strerror})"
            hint = "End what listens there, or choose another `move_port`, here and at the archive"
            raise VoxelwayError("E-PACS-UNREACHABLE", what, hint=hint) from error

    def _on_store(self, event: Any) -> int:
        """Take one instance; it is answered for when it stands on the disk."""
        take = self._take
        if take is None:
            return NOT_WANTED
        if self._fault is not None:
            return NO_RESOURCE
        self._throttle.wait()
        try:
            return SUCCESS if take(event.encoded_dataset()) else NOT_WANTED
        except VoxelwayError as error:
            self._fault = error
            return NO_RESOURCE

    # sending

    def send(self, items: Sequence[Item]) -> Iterator[Sent]:
        """As :meth:`Archive.send`."""
        kinds = sorted({(item.sop_class, item.transfer_syntax) for item in items})
        for some in _chunks(kinds, CONTEXTS_AT_ONCE):
            wanted = [item for item in items if (item.sop_class, item.transfer_syntax) in some]
            if wanted:
                yield from self._send(wanted, some)

    def _send(self, items: Sequence[Item], kinds: Sequence[tuple[str, str]]) -> Iterator[Sent]:
        # sent from the file as it is, piece by piece
        _config.STORE_SEND_CHUNKED_DATASET = True
        contexts = [build_context(*kind) for kind in kinds]
        with ended(associate(self.peer, contexts)) as association:
            for item in items:
                self._throttle.wait()
                yield self._store(association, item)

    def _store(self, association: Any, item: Item) -> Sent:
        try:
            code = _status(association.send_c_store(item.path), self.peer)
        except RuntimeError as error:
            raise broke_off(self.peer) from error
        except ValueError:
            kind, syntax = _name(item.sop_class), _name(item.transfer_syntax)
            return Sent(item, "E-PACS-STORE", f"The archive does not take {kind} in {syntax}")
        except (OSError, AttributeError) as error:
            return Sent(item, "D-UNREADABLE", f"The file can't be read ({type(error).__name__})")
        if code in OUT_OF_RESOURCES:
            what = f"The archive is out of resources (status {code:#06x})"
            raise VoxelwayError("E-PACS-UNREACHABLE", what, where=f"archive {self.peer.name}")
        if code == SUCCESS or code in WARNINGS:
            return Sent(item, "", "" if code == SUCCESS else f"Stored with status {code:#06x}")
        return Sent(item, "E-PACS-STORE", f"The archive refused it (status {code:#06x})")

    def close(self) -> None:
        """Release the association for queries and stop listening."""
        if self._query is not None and self._query.is_established:
            self._query.release()
        if self._server is not None:
            self._server.shutdown()


def _identifier(level: str, keys: Mapping[str, str]) -> Any:
    from pydicom import Dataset

    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    if any(not value.isascii() for value in keys.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    for name, value in keys.items():
        setattr(identifier, name, value)
    return identifier


def _text(answer: Any, name: str) -> str:
    value = answer.get(name)
    return "" if value is None else str(value).strip()


def _status(status: Any, peer: Peer) -> int:
    """The number in an answer; an empty answer means that the archive broke off."""
    if "Status" not in status:
        raise broke_off(peer)
    return int(status.Status)


def _refused(act: str, code: int, peer: Peer) -> VoxelwayError:
    """Error of a final status; PS3.4 C.4.1.1.4, C.4.2.1.5."""
    where = f"archive {peer.name}"
    if act == "retrieval" and code == 0xA801:
        what = f"The archive does not know the destination {peer.destination!r} of C-MOVE"
        hint = "Enter our AE title with host and port at the archive"
        return VoxelwayError("E-PACS-AE", what, where=where, hint=hint)
    if code == 0x0124:
        return VoxelwayError("E-PACS-AUTH", f"The archive does not allow the {act}", where=where)
    hint = "Too broad a query is a common reason: narrow it" if code in OUT_OF_RESOURCES else ""
    what = f"The archive ended the {act} with status {code:#06x}"
    return VoxelwayError("E-PACS-QUERY", what, where=where, hint=hint)


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Parts of at most ``size``; one empty part of nothing."""
    for start in range(0, max(1, len(items)), size):
        yield items[start : start + size]


def _name(uid: str) -> str:
    from pydicom.uid import UID

    return str(UID(uid).name)
