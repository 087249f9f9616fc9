"""An archive as the configuration describes it, its TLS and its credentials."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

from pipeline import config
from pipeline.errors import VoxelwayError, from_os_error

Via = Literal["get", "move", "web"]
#: Hosts whose traffic does not leave the machine: a password may go there without TLS.
OWN_MACHINE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Credentials:
    """What the web service asks for: a user with a password, a token, or nothing."""

    user: str = ""
    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"

    def __bool__(self) -> bool:
        return bool(self.user or self.token)


@dataclass(frozen=True)
class Peer:
    """One archive; the keys are those of workflow/schemas/pacs.schema.yaml.

    ``calling``, ``rate`` (instances a second), ``timeout`` and ``backoff`` (seconds) and
    ``retries`` hold for all archives of a configuration.
    """

    name: str
    calling: str
    rate: float
    timeout: float
    retries: int
    backoff: float
    via: Via
    host: str = ""
    port: int = 104
    ae_title: str = ""
    url: str = ""
    move_ae_title: str = ""
    move_host: str = "0.0.0.0"
    move_port: int = 11112
    tls: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""
    check_hostname: bool = True
    credentials: str = ""
    credentials_env: str = "VOXELWAY_PACS"

    @property
    def destination(self) -> str:
        """AE title that the archive sends to by C-MOVE."""
        return self.move_ae_title or self.calling

    def client_tls(self) -> ssl.SSLContext:
        """How we speak TLS to the archive: its certificate is always checked.

        Raises:
            VoxelwayError: E-PACS-TLS when a certificate or key can't be used.
        """
        with _Certificates(self.name):
            context = ssl.create_default_context(cafile=self.ca or None)
            context.check_hostname = self.check_hostname
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
        return context

    def server_tls(self) -> ssl.SSLContext:
        """How we take TLS from the archive by C-MOVE: it must show a certificate of ``ca``.

        Raises:
            VoxelwayError: E-PACS-TLS when a certificate or key is lacking or can't be used.
        """
        if not (self.certificate and self.ca):
            what = "C-MOVE with TLS needs `certificate`, `key` and `ca` in the archive's section"
            raise VoxelwayError("E-PACS-TLS", what, where=f"archive {self.name}")
        with _Certificates(self.name):
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
            context.load_cert_chain(self.certificate, self.key or None)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def secrets(self) -> Credentials:
        """The credentials, from the environment, else from the file that the configuration names.

        Raises:
            VoxelwayError: E-PACS-CREDENTIALS when the file can't be used, or they would go over the
                network without TLS.
        """
        found = self._from_environment() or self._from_file()
        address = urlsplit(self.url)
        if found and address.scheme == "http" and address.hostname not in OWN_MACHINE:
            what = "The credentials would cross the network in the clear"
            hint = "Use an address that begins with https"
            where = f"archive {self.name}"
            raise VoxelwayError("E-PACS-CREDENTIALS", what, where=where, hint=hint)
        return found

    def _from_environment(self) -> Credentials:
        names = ("USER", "PASSWORD", "TOKEN")
        values = [os.environ.get(f"{self.credentials_env}_{name}", "") for name in names]
        return Credentials(*values)

    def _from_file(self) -> Credentials:
        if not self.credentials:
            return Credentials()
        path = Path(self.credentials)
        content = _read_secret(path)
        known = {field.name for field in fields(Credentials)}
        if not isinstance(content, dict) or set(content) - known:
            what = f"Only the keys {', '.join(sorted(known))} may stand in it"
            raise VoxelwayError("E-PACS-CREDENTIALS", what, where=str(path))
        return Credentials(**{key: str(value) for key, value in content.items()})


def _read_secret(path: Path) -> Any:
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            what = f"Others than its owner may read the file (mode {mode & 0o777:04o})"
            hint = f"chmod 600 {path}"
            raise VoxelwayError("E-PACS-CREDENTIALS", what, where=str(path), hint=hint)
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        what = from_os_error(error).what
        raise VoxelwayError("E-PACS-CREDENTIALS", what, where=str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError):
        # the parser's own words quote the file
        what = "The file is no valid YAML"
        raise VoxelwayError("E-PACS-CREDENTIALS", what, where=str(path)) from None


class _Certificates:
    """Turns what `ssl` says about certificate files into E-PACS-TLS."""

    def __init__(self, name: str) -> None:
        self.where = f"archive {name}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            reason = getattr(error, "reason", "") or error.strerror or type(error).__name__
            what = f"A certificate or its key can't be used ({reason})"
            hint = "Look at `ca`, `certificate` and `key` of the archive"
            raise VoxelwayError("E-PACS-TLS", what, where=self.where, hint=hint) from error


def read_peer(
    raw: Mapping[str, Any], name: str | None = None, changes: Mapping[str, Any] | None = None
) -> Peer:
    """The archive that a call works with.

    Args:
        raw: the section ``pacs``, not checked.
        name: which of its peers; None where there is only one.
        changes: values of the command line that replace those of the section (``rate``, ``via``).

    Raises:
        VoxelwayError: E-CONFIG-KEY, E-CONFIG-VALUE; E-PACS-PEER when there is no such archive or
            it lacks what its way of talking needs.
    """
    section = config.section("pacs", raw)
    known = {item["name"]: item for item in section["peers"]}
    if len(known) < len(section["peers"]):
        raise VoxelwayError("E-CONFIG-VALUE", "Two archives in pacs.peers have the same name")
    if name is None and len(known) == 1:
        name = next(iter(known))
    if name not in known:
        what = f"There is no archive {name!r}" if name else "Which archive is not said"
        listed = ", ".join(known) or "none"
        raise VoxelwayError("E-PACS-PEER", what, hint=f"--peer takes one of: {listed}")
    defaults = config.schema()["properties"]["pacs"]["properties"]["peers"]["items"]
    general = {key: section[key] for key in ("rate", "timeout", "retries", "backoff")}
    values = {**general, **config.with_defaults(known[name], defaults), **(changes or {})}
    return _whole(Peer(calling=section["ae_title"], **values))


def _whole(peer: Peer) -> Peer:
    needed = ("url",) if peer.via == "web" else ("host", "ae_title")
    missing = [key for key in needed if not getattr(peer, key)]
    if missing:
        what = f"The archive has no {' and no '.join(missing)}, which {peer.via!r} needs"
        raise VoxelwayError("E-PACS-PEER", what, where=f"archive {peer.name}")
    return peer
