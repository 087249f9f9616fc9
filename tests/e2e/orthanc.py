"""Orthanc for a test, alone in a network namespace: it listens on every address it finds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DICOM_PORT, WEB_PORT, MOVE_PORT = 4242, 8042, 11112
USER, PASSWORD = "reader", "s3cret"
SECONDS = 20.0


def missing() -> str:
    """Why Orthanc can't run here, empty when it can."""
    if shutil.which("Orthanc") is None or plugin() is None:
        return "Orthanc with its DICOMweb plugin is not installed"
    if os.geteuid() != 0 or shutil.which("nsenter") is None:
        return "a network namespace needs root"
    test = ["unshare", "-n", "ip", "link", "set", "lo", "up"]
    try:
        done = subprocess.run(test, capture_output=True, check=False)
    except OSError:
        return "unshare or ip is not installed"
    return "" if done.returncode == 0 else "no network namespace can be made here"


def plugin() -> Path | None:
    """The DICOMweb plugin, as Debian installs it."""
    return next(iter(sorted(Path("/usr/lib/orthanc").glob("libOrthancDicomWeb.so*"))), None)


@dataclass
class Orthanc:
    """One that runs; ``configuration`` is how `voxelway` knows it."""

    process: subprocess.Popen[bytes]
    configuration: Path

    def voxelway(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a verb in the namespace."""
        inside = ["nsenter", "--target", str(self.process.pid), "--net"]
        command = [*inside, sys.executable, "-m", "pipeline.cli", *map(str, arguments)]
        secrets = {"VOXELWAY_PACS_USER": USER, "VOXELWAY_PACS_PASSWORD": PASSWORD}
        return subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **secrets},
        )

    def reachable(self) -> bool:
        """Whether it answers the web."""
        probe = f"import socket; socket.create_connection(('127.0.0.1', {WEB_PORT}), 1)"
        inside = ["nsenter", "--target", str(self.process.pid), "--net"]
        command = [*inside, sys.executable, "-S", "-c", probe]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run(
        [*command, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True
    )
    return paths


def _tls(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What Orthanc and we need for DICOM over TLS, each with an own certificate.

    Not for the web: Debian's Orthanc 1.10 crashes at the first HTTPS connection.
    """
    theirs, ours = certificate(folder, "archive"), certificate(folder, "ours")
    service = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(theirs[0]),
        "DicomTlsPrivateKey": str(theirs[1]),
        "DicomTlsTrustedCertificates": str(ours[0]),
    }
    us = {"tls": True, "ca": str(theirs[0]), "certificate": str(ours[0]), "key": str(ours[1])}
    return service, us


@contextmanager
def running(folder: Path, *, tls: bool = False) -> Iterator[Orthanc]:
    """Orthanc with an empty store below ``folder``."""
    service, us = _tls(folder) if tls else ({}, {})
    settings = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomPort": DICOM_PORT,
        "HttpPort": WEB_PORT,
        "RemoteAccessAllowed": True,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomModalities": {
            "ours": {
                "AET": "VOXELWAY", "Host": "127.0.0.1", "Port": MOVE_PORT, "UseDicomTls": tls
            }
        },
        "OverwriteInstances": True,
        "Plugins": [str(plugin())],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **service,
    }  # fmt: skip
    path, known = folder / "orthanc.json", folder / "pacs.yaml"
    path.write_text(json.dumps(settings))
    entry = {"name": "orthanc", "host": "127.0.0.1", "port": DICOM_PORT, "ae_title": "ORTHANC",
             "url": f"http://127.0.0.1:{WEB_PORT}/dicom-web",
             "move_host": "127.0.0.1", "move_port": MOVE_PORT, **us}  # fmt: skip
    known.write_text(yaml.safe_dump({"timeout": 30, "backoff": 0.2, "peers": [entry]}))
    shell = f"ip link set lo up && exec Orthanc {path}"
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", shell],
            stdout=log,
            stderr=subprocess.STDOUT,
            # without it every small message waits for the answer to the last
            env={**os.environ, "TCP_NODELAY": "1"},
        )
    found = Orthanc(process, known)
    try:
        limit = time.monotonic() + SECONDS
        while not found.reachable():
            if time.monotonic() > limit or process.poll() is not None:
                raise RuntimeError((folder / "orthanc.log").read_text(errors="replace")[-2000:])
            time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(30)
