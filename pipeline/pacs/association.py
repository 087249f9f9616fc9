"""Associations with an archive: asked for, and what it means when none comes about."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE, evt

from pipeline.errors import VoxelwayError
from pipeline.pacs.peer import Peer

#: Seconds that a connection may take to come about.
CONNECT = 20.0
#: Results of A-ASSOCIATE-RJ (DICOM PS3.8 9.3.4): the service user did not recognise a title.
SERVICE_USER, CALLING_UNKNOWN, CALLED_UNKNOWN = 1, 3, 7


def local_entity(peer: Peer) -> AE:
    """Our side, with the archive's patience."""
    entity = AE(ae_title=peer.calling)
    entity.connection_timeout = min(CONNECT, peer.timeout)
    entity.acse_timeout = min(CONNECT, peer.timeout)
    entity.dimse_timeout = peer.timeout
    entity.network_timeout = peer.timeout
    return entity


def at_once(event: Any) -> None:
    """Send small pieces without waiting for the answer to the last (TCP_NODELAY).

    The header and the end of an instance are small, and the delay of an answer is up to 40 ms.
    """
    connection = event.assoc.dul.socket.socket
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def associate(
    peer: Peer,
    contexts: Sequence[Any],
    roles: Sequence[Any] = (),
    handlers: Sequence[Any] = (),
) -> Any:
    """An association with the archive.

    Args:
        peer: the archive.
        contexts: presentation contexts, at most 128.
        roles: role selections (C-GET).
        handlers: of pynetdicom's events.

    Raises:
        VoxelwayError: E-PACS-UNREACHABLE, E-PACS-TLS, E-PACS-AE, E-PACS-REJECTED.
    """
    tls = (peer.client_tls(), peer.host) if peer.tls else None
    try:
        association = local_entity(peer).associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ae_title=peer.ae_title,
            ext_neg=list(roles) or None,
            evt_handlers=[(evt.EVT_CONN_OPEN, at_once), *handlers],
            tls_args=tls,
        )
    except OSError as error:
        # the host's name has no address
        raise _not_reached(peer) from error
    if association.is_established:
        return association
    if association.is_rejected:
        raise _rejected(peer, association.acceptor.primitive)
    raise _not_reached(peer)


@contextmanager
def ended(association: Any) -> Iterator[Any]:
    """Release an association after its work; abort it when the work failed or was interrupted."""
    try:
        yield association
    except BaseException:
        # a release would wait for all that the archive still sends
        association.abort()
        raise
    association.release()


def _rejected(peer: Peer, answer: Any) -> VoxelwayError:
    where = f"archive {peer.name}"
    if answer.result_source == SERVICE_USER and answer.diagnostic == CALLING_UNKNOWN:
        what = f"The archive does not know our AE title {peer.calling!r}"
        hint = "Have it entered at the archive, with this machine's address, or set pacs.ae_title"
        return VoxelwayError("E-PACS-AE", what, where=where, hint=hint)
    if answer.result_source == SERVICE_USER and answer.diagnostic == CALLED_UNKNOWN:
        what = f"The archive does not go by the AE title {peer.ae_title!r}"
        return VoxelwayError("E-PACS-AE", what, where=where, hint="Correct the peer's ae_title")
    what = f"The archive rejected the association ({answer.reason_str})"
    return VoxelwayError("E-PACS-REJECTED", what, where=where)


def _not_reached(peer: Peer) -> VoxelwayError:
    """Why no association came about: a connection is tried once more, and the error is read."""
    where = f"archive {peer.name}"
    try:
        with socket.create_connection((peer.host, peer.port), min(CONNECT, peer.timeout)) as plain:
            if peer.tls:
                _shake_hands(peer, plain)
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or type(error).__name__
        what = f"TLS with the archive failed ({reason})"
        hint = "Look at `ca`, `certificate`, `key` and at the name in the archive's certificate"
        return VoxelwayError("E-PACS-TLS", what, where=where, hint=hint)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        what = f"No connection with {peer.host} port {peer.port} ({reason})"
        return VoxelwayError("E-PACS-UNREACHABLE", what, where=where)
    what = f"{peer.host} port {peer.port} can be reached, but gives no DICOM association"
    hint = "Look at the port, and whether the service wants TLS (`tls`)"
    return VoxelwayError("E-PACS-UNREACHABLE", what, where=where, hint=hint)


def _shake_hands(peer: Peer, plain: socket.socket) -> None:
    with peer.client_tls().wrap_socket(plain, server_hostname=peer.host) as secure:
        # TLS 1.3 tells of a certificate that it misses only after the handshake
        secure.settimeout(1.0)
        try:
            secure.recv(1)
        except TimeoutError:
            return


def broke_off(peer: Peer) -> VoxelwayError:
    """The error of an association that ended in the middle."""
    what = "The archive broke off, or gave no answer in time"
    hint = "A longer `timeout` helps with archives that fetch from tape"
    return VoxelwayError("E-PACS-UNREACHABLE", what, where=f"archive {peer.name}", hint=hint)
