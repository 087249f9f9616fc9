"""Archives for the tests: a DICOM service in this process, and a DICOMweb one, that misbehave."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from pipeline.pacs.peer import Peer, read_peer

MR = "1.2.840.10008.5.1.4.1.1.4"
PATIENT, ACCESSION, NAME = "HOSP-4711", "ACC-0815", "Doe^Jane"
LEVELS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


def instance(study: int, series: int, number: int, patient: str = PATIENT, **more: str) -> Dataset:
    """One slice of 8 x 8 pixels; UIDs follow from the numbers."""
    item = Dataset()
    item.SOPClassUID = MR
    item.StudyInstanceUID = f"1.2.3.{study}"
    item.SeriesInstanceUID = f"1.2.3.{study}.{series}"
    item.SOPInstanceUID = f"1.2.3.{study}.{series}.{number}"
    item.PatientID, item.PatientName, item.AccessionNumber = patient, NAME, ACCESSION
    item.StudyDate, item.Modality = f"2024010{study}", "MR"
    item.StudyDescription, item.SeriesDescription = "Brain", f"series {series}"
    item.Rows = item.Columns = 8
    item.BitsAllocated = item.BitsStored = 16
    item.HighBit, item.PixelRepresentation, item.SamplesPerPixel = 15, 0, 1
    item.PhotometricInterpretation = "MONOCHROME2"
    item.PixelData = np.random.default_rng(number).integers(0, 999, 64).astype("<u2").tobytes()
    for name, value in more.items():
        setattr(item, name, value)
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID
    item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
    return item


def cohort() -> list[Dataset]:
    """Two patients; the first has two studies of two series of five, the other one of three."""
    first = [
        instance(study, series, n) for study in (1, 2) for series in (1, 2) for n in range(1, 6)
    ]
    second = [instance(3, 1, n, "OTHER-1", AccessionNumber="ACC-2") for n in range(1, 4)]
    return first + second


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Scp:
    """A DICOM archive. Set the attributes to make it misbehave.

    Attributes:
        lost: SOPInstanceUIDs that it names in queries and does not send.
        unnamed: SOPInstanceUIDs that it counts, and does not name in so many queries.
        break_after: instances after which it aborts the association, once.
        deaf: it passes over every key of a query but the UIDs.
        retrievals: (level, names) of every retrieval that it was asked for.
    """

    def __init__(self, datasets: list[Dataset], knows: str = "VOXELWAY") -> None:
        self.datasets = {str(item.SOPInstanceUID): item for item in datasets}
        self.knows, self.port, self.move_port = knows, free_port(), free_port()
        self.lost: set[str] = set()
        self.break_after: int | None = None
        self.deaf = False
        self.unnamed: dict[str, int] = {}
        self.counted = True
        self.refused: dict[str, int] = {}
        self.retrievals: list[tuple[str, int]] = []
        self.sent: list[str] = []

    @contextmanager
    def running(self, tls: ssl.SSLContext | None = None) -> Iterator[Scp]:
        entity = AE(ae_title="ARCHIVE")
        entity.require_called_aet = True
        entity.require_calling_aet = [self.knows]
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, scu_role=True, scp_role=True)
        for model in (
            StudyRootQueryRetrieveInformationModelFind,
            StudyRootQueryRetrieveInformationModelGet,
            StudyRootQueryRetrieveInformationModelMove,
        ):
            entity.add_supported_context(model)
        entity.add_requested_context(MR, "1.2.840.10008.1.2.1")
        handlers = [
            (evt.EVT_C_FIND, self._find), (evt.EVT_C_GET, self._get),
            (evt.EVT_C_MOVE, self._move), (evt.EVT_C_STORE, self._store),
        ]  # fmt: skip
        place = ("127.0.0.1", self.port)
        server = entity.start_server(place, block=False, evt_handlers=handlers, ssl_context=tls)
        try:
            yield self
        finally:
            server.shutdown()

    def _matching(self, keys: Dataset) -> list[Dataset]:
        def fits(item: Dataset) -> bool:
            for name in ("PatientID", "AccessionNumber", *LEVELS.values()):
                wanted = keys.get(name)
                if not wanted or (self.deaf and "UID" not in name):
                    continue
                values = [wanted] if isinstance(wanted, str) else list(wanted)
                if str(item[name].value) not in values:
                    return False
            return True

        return [item for item in self.datasets.values() if fits(item)]

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        keys = event.identifier
        unique = LEVELS[keys.QueryRetrieveLevel]
        groups: dict[str, list[Dataset]] = {}
        for item in self._matching(keys):
            groups.setdefault(str(item[unique].value), []).append(item)
        for name, items in groups.items():
            if self.unnamed.get(name, 0) > 0:
                self.unnamed[name] -= 1
                continue
            answer = Dataset()
            answer.QueryRetrieveLevel = keys.QueryRetrieveLevel
            for element in keys:
                if element.keyword in items[0]:
                    answer[element.tag] = items[0][element.tag]
            if self.counted and keys.QueryRetrieveLevel == "SERIES":
                answer.NumberOfSeriesRelatedInstances = len(items)
            yield 0xFF00, answer

    def _chosen(self, event: Any) -> list[Dataset]:
        keys = event.identifier
        found = self._matching(keys)
        self.retrievals.append((keys.QueryRetrieveLevel, len(found)))
        return [item for item in found if str(item.SOPInstanceUID) not in self.lost]

    def _get(self, event: Any) -> Iterator[Any]:
        found = self._chosen(event)
        yield len(found)
        yield from self._sending(event, found)

    def _move(self, event: Any) -> Iterator[Any]:
        if event.move_destination != self.knows:
            yield None, None
            return
        found = self._chosen(event)
        yield "127.0.0.1", self.move_port
        yield len(found)
        yield from self._sending(event, found)

    def _sending(self, event: Any, found: list[Dataset]) -> Iterator[Any]:
        for number, item in enumerate(found):
            if self.break_after is not None and number == self.break_after:
                self.break_after = None
                event.assoc.abort()
                return
            self.sent.append(str(item.SOPInstanceUID))
            yield 0xFF00, item

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if self.break_after is not None and len(self.retrievals) == self.break_after:
            self.break_after = None
            event.assoc.abort()
            return 0x0000
        self.retrievals.append(("STORE", 1))
        if uid in self.refused:
            return self.refused[uid]
        self.datasets[uid] = pydicom.dcmread(event_file(event))
        return 0x0000


def event_file(event: Any) -> Any:
    from io import BytesIO

    return BytesIO(event.encoded_dataset())


def peer(scp: Scp, via: str = "get", **more: Any) -> Peer:
    """How we know it; a pause between attempts would only slow the tests down."""
    entry = {"name": "a", "host": "127.0.0.1", "port": scp.port, "ae_title": "ARCHIVE", "via": via,
             "move_port": scp.move_port, "move_host": "127.0.0.1"}  # fmt: skip
    general = {key: more.pop(key) for key in ("rate", "retries", "ae_title") if key in more}
    section = {"backoff": 0.01, "timeout": 20, **general, "peers": [{**entry, **more}]}
    return read_peer(section)


def certificates(folder: Path, name: str) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    paths = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *kind, *subject, "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True)
    return paths


def server_context(certificate: tuple[str, str], client: str = "") -> ssl.SSLContext:
    """TLS of a service; with ``client`` it asks for that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if client:
        context.load_verify_locations(client)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Web:
    """A DICOMweb archive. ``faults`` are statuses that the next requests get."""

    def __init__(self, datasets: list[Dataset], user: str = "", password: str = "") -> None:
        self.datasets = {str(item.SOPInstanceUID): item for item in datasets}
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.authorization = f"Basic {token}" if user else ""
        self.faults: list[int] = []
        self.requests: list[str] = []
        self.url = ""

    @contextmanager
    def running(self, tls: ssl.SSLContext | None = None) -> Iterator[Web]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                web.answer(self)

            def do_POST(self) -> None:
                web.answer(self)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/web"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def answer(self, request: Any) -> None:
        path, _, query = request.path.removeprefix("/web").partition("?")
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length)
        self.requests.append(f"{request.command} {path}")
        if self.authorization and request.headers.get("Authorization") != self.authorization:
            return reply(request, 401, b"")
        if self.faults:
            return reply(request, self.faults.pop(0), b"")
        if request.command == "POST":
            return reply(request, 200, *self._stored(request.headers["Content-Type"], body))
        return self._found(request, path.strip("/").split("/"), query)

    def _found(self, request: Any, parts: list[str], query: str) -> None:
        given = dict(zip(parts[::2], parts[1::2], strict=False))
        names = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID",
                 "instances": "SOPInstanceUID"}  # fmt: skip
        found = [
            item
            for item in self.datasets.values()
            if all(str(item[names[key]].value) == value for key, value in given.items())
        ]
        if len(parts) % 2 == 0:
            return reply(request, 200, *multipart([raw(item) for item in found]))
        if "offset=0" not in query:
            return reply(request, 200, b"[]")
        answers = {str(item[names[parts[-1]]].value): self._json(item, found) for item in found}
        return reply(request, 200, json.dumps(list(answers.values())).encode())

    def _json(self, item: Dataset, found: list[Dataset]) -> dict[str, Any]:
        result = Dataset()
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID",
                     "PatientID", "StudyDate", "Modality", "SeriesDescription"):  # fmt: skip
            result[name] = item[name]
        same = [other for other in found if other.SeriesInstanceUID == item.SeriesInstanceUID]
        result.NumberOfSeriesRelatedInstances = len(same)
        answer: dict[str, Any] = result.to_json_dict()
        return answer

    def _stored(self, kind: str, body: bytes) -> tuple[bytes, str]:
        boundary = kind.partition('boundary="')[2].rstrip('"').encode()
        answer = Dataset()
        answer.ReferencedSOPSequence = []
        for part in body.split(b"--" + boundary)[1:-1]:
            from io import BytesIO

            item = pydicom.dcmread(BytesIO(part.partition(b"\r\n\r\n")[2][:-2]))
            self.datasets[str(item.SOPInstanceUID)] = item
            place = Dataset()
            place.ReferencedSOPClassUID = item.SOPClassUID
            place.ReferencedSOPInstanceUID = item.SOPInstanceUID
            answer.ReferencedSOPSequence.append(place)
        return answer.to_json().encode(), "application/dicom+json"


def raw(item: Dataset) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    item.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def multipart(parts: list[bytes]) -> tuple[bytes, str]:
    head = b"--edge\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + part + b"\r\n" for part in parts) + b"--edge--\r\n"
    return body, 'multipart/related; type="application/dicom"; boundary=edge'


def reply(request: Any, status: int, body: bytes, kind: str = "application/dicom+json") -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def web_peer(web: Web, **more: Any) -> Peer:
    general = {key: more.pop(key) for key in ("rate", "retries") if key in more}
    entry = {"name": "a", "url": web.url, "via": "web", **more}
    return read_peer({"backoff": 0.01, "timeout": 20, **general, "peers": [entry]})
