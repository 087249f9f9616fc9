"""An archive by DICOMweb: QIDO-RS, WADO-RS and STOW-RS (DICOM PS3.18), with dicomweb-client.

No error of the libraries is passed on in its own words: they hold the address of the query, and
with it what was asked for.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pydicom
import requests
from dicomweb_client.web import DICOMwebClient

from pipeline.errors import VoxelwayError
from pipeline.pacs.archive import OF_INSTANCE, OF_SERIES, OF_STUDY, Item, Sent, SeriesRef, Take
from pipeline.pacs.pace import Throttle
from pipeline.pacs.peer import Peer

#: Instances come as the archive holds them, in whatever transfer syntax.
AS_STORED = (("application/dicom", "*"),)
#: Bytes of instances that one STOW-RS request carries, one larger instance goes alone.
POST_BYTES = 32 * 1024 * 1024
#: Statuses of HTTP that may pass: timeout, too early, too many requests, faults of the server.
PASSING = (408, 425, 429, 500, 502, 503, 504)

T = TypeVar("T")


class Web:
    """One archive by its DICOMweb address.

    Raises:
        VoxelwayError: E-PACS-CREDENTIALS.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._throttle = Throttle(peer.rate)
        self._session = _session(peer)
        address = peer.url.rstrip("/")
        self._client = DICOMwebClient(
            address, self._session, timeout=peer.timeout, permissive_uid=True
        )
        # attempts are counted in one place, for both ways of talking
        self._client.set_http_retry_params(retry=False)

    # queries

    def studies(self, keys: Mapping[str, str]) -> list[dict[str, str]]:
        """As :meth:`Archive.studies`."""
        found = self._ask(
            lambda: self._client.search_for_studies(
                search_filters=dict(keys), fields=list(OF_STUDY), get_remaining=True
            )
        )
        return [_plain(item, OF_STUDY) for item in found]

    def series(self, study: str, keys: Mapping[str, str]) -> list[dict[str, str]]:
        """As :meth:`Archive.series`."""
        name = "SeriesInstanceUID"
        filters = {name: keys[name]} if name in keys else None
        found = self._ask(
            lambda: self._client.search_for_series(
                study, search_filters=filters, fields=list(OF_SERIES), get_remaining=True
            )
        )
        return [_plain(item, OF_SERIES) for item in found]

    def instances(self, ref: SeriesRef) -> dict[str, str]:
        """As :meth:`Archive.instances`."""
        found = self._ask(
            lambda: self._client.search_for_instances(
                ref.study, ref.series, fields=list(OF_INSTANCE), get_remaining=True
            )
        )
        items = [_plain(item, OF_INSTANCE) for item in found]
        return {
            item["SOPInstanceUID"]: item["SOPClassUID"] for item in items if item["SOPInstanceUID"]
        }

    # retrieval

    def fetch(self, ref: SeriesRef, wanted: Mapping[str, str], whole: bool, take: Take) -> None:
        """As :meth:`Archive.fetch`."""
        if whole:
            self._take_all(
                lambda: self._client.iter_series(ref.study, ref.series, media_types=AS_STORED), take
            )
            return
        for uid in wanted:
            self._take_all(partial(self._instance, ref, uid), take)

    def _instance(self, ref: SeriesRef, uid: str) -> Iterator[Any]:
        found = self._client.retrieve_instance(ref.study, ref.series, uid, media_types=AS_STORED)
        return iter([found])

    def _take_all(self, begin: Callable[[], Iterator[Any]], take: Take) -> None:
        parts = self._ask(begin)
        while (part := self._ask(lambda: next(parts, None))) is not None:
            self._throttle.wait()
            take(_bytes(part))

    # sending

    def send(self, items: Sequence[Item]) -> Iterator[Sent]:
        """As :meth:`Archive.send`."""
        for some in _posts(items):
            for _ in some:
                self._throttle.wait()
            yield from self._post(some)

    def _post(self, items: Sequence[Item]) -> Iterator[Sent]:
        readable: list[Item] = []
        datasets = []
        for item in items:
            try:
                datasets.append(pydicom.dcmread(item.path))
                readable.append(item)
            except Exception as error:
                # whatever a damaged file makes the parser raise, the others are sent
                what = f"The file can't be read ({type(error).__name__})"
                yield Sent(item, "D-UNREADABLE", what)
        if not readable:
            return
        try:
            answer = self._ask(lambda: self._client.store_instances(datasets))
        except VoxelwayError as error:
            if error.code != "E-PACS-QUERY":
                raise
            if len(readable) == 1:
                yield Sent(readable[0], "E-PACS-STORE", error.what)
            else:
                # one of them is at fault: find out which
                for item in readable:
                    yield from self._post([item])
        else:
            yield from _answers(answer, readable)

    def _ask(self, call: Callable[[], T]) -> T:
        """Call the library; its errors become coded ones.

        Raises:
            VoxelwayError: E-PACS-TLS, E-PACS-UNREACHABLE, E-PACS-AUTH, E-PACS-QUERY.
        """
        where = f"archive {self.peer.name}"
        host = urlsplit(self.peer.url).hostname or ""
        try:
            return call()
        except requests.exceptions.SSLError:
            what = f"TLS with {host} failed: a certificate does not fit"
            hint = "Look at `ca`, `certificate` and `key` of the archive"
            raise VoxelwayError("E-PACS-TLS", what, where=where, hint=hint) from None
        except requests.exceptions.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            raise _of_status(status, where) from None
        except (requests.exceptions.RequestException, EOFError, OSError) as error:
            what = f"No answer from {host} ({type(error).__name__})"
            raise VoxelwayError("E-PACS-UNREACHABLE", what, where=where) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"{host} gave an answer that is no DICOMweb ({type(error).__name__})"
            hint = "Look at `url`: `/studies` follows it"
            raise VoxelwayError("E-PACS-QUERY", what, where=where, hint=hint) from None

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _session(peer: Peer) -> requests.Session:
    session = requests.Session()
    # the environment may set a proxy; it may not replace certificates or credentials
    session.trust_env = False
    session.proxies = dict(requests.utils.get_environ_proxies(peer.url))
    secrets = peer.secrets()
    if secrets.token:
        session.headers["Authorization"] = f"Bearer {secrets.token}"
    elif secrets.user:
        session.auth = (secrets.user, secrets.password)
    # reading them now says what is wrong with them better than the first request does
    if urlsplit(peer.url).scheme == "https":
        peer.client_tls()
    system = ssl.get_default_verify_paths()
    session.verify = peer.ca or system.cafile or system.capath or True
    if peer.certificate:
        session.cert = (peer.certificate, peer.key) if peer.key else peer.certificate
    return session


def _of_status(status: int, where: str) -> VoxelwayError:
    if status in (401, 403):
        what = f"The archive refused the credentials (HTTP {status})"
        hint = "Set the variables of `credentials_env`, or the file `credentials`"
        return VoxelwayError("E-PACS-AUTH", what, where=where, hint=hint)
    code = "E-PACS-UNREACHABLE" if status in PASSING else "E-PACS-QUERY"
    return VoxelwayError(code, f"The archive answered with HTTP {status}", where=where)


def _plain(item: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Values of a result in DICOM JSON (PS3.18 F.2) as text, empty where there is none."""
    from pydicom.datadict import tag_for_keyword

    found = {}
    for name in names:
        values = item.get(f"{tag_for_keyword(name):08X}", {}).get("Value") or [""]
        found[name] = "" if values[0] is None else str(values[0]).strip()
    return found


def _bytes(dataset: Any) -> bytes:
    """The dataset as a file; elements that were not looked at are written as they came."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _posts(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items in requests of a bearable size."""
    some: list[Item] = []
    for item in items:
        if some and sum(other.size for other in some) + item.size > POST_BYTES:
            yield some
            some = []
        some.append(item)
    if some:
        yield some


def _answers(answer: Any, items: Sequence[Item]) -> Iterator[Sent]:
    """What the response of STOW-RS says of each instance (PS3.18 10.5.3)."""
    failed = {
        str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason", 0) or 0)
        for item in answer.get("FailedSOPSequence") or []
    }
    stored = {
        str(item.ReferencedSOPInstanceUID) for item in answer.get("ReferencedSOPSequence") or []
    }
    for item in items:
        reason = failed.get(item.sop_instance)
        if reason is not None:
            yield Sent(item, "E-PACS-STORE", f"The archive refused it (reason {reason:#06x})")
        elif stored and item.sop_instance not in stored:
            yield Sent(item, "E-PACS-STORE", "The archive does not say that it stored it")
        else:
            yield Sent(item)
