"""TLS and credentials: what is let in, what is refused, and what stays unsaid."""

from __future__ import annotations

import os
from pathlib import Path

import pydicom
import pytest

from pipeline.errors import VoxelwayError
from pipeline.pacs.peer import read_peer
from pipeline.pacs.pull import pull
from pipeline.pacs.push import push
from pipeline.pacs.request import Request

from . import pacs_cases as cases

Pair = tuple[str, str]
SERIES = Request(1, {"StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": "1.2.3.1.1"})


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: cases.certificates(folder, name) for name in ("archive", "ours", "other")}


def files(folder: Path) -> int:
    return len(list(folder.rglob("*.dcm")))


def test_dimse_over_tls(pairs: dict[str, Pair], tmp_path: Path) -> None:
    with cases.Scp(cases.cohort()).running(cases.server_context(pairs["archive"])) as scp:
        peer = cases.peer(scp, tls=True, ca=pairs["archive"][0])
        assert pull(peer, [SERIES], tmp_path / "in") == 0
    assert files(tmp_path / "in") == 5


def test_dimse_with_our_certificate(pairs: dict[str, Pair], tmp_path: Path) -> None:
    context = cases.server_context(pairs["archive"], pairs["ours"][0])
    with cases.Scp(cases.cohort()).running(context) as scp:
        ours = {"certificate": pairs["ours"][0], "key": pairs["ours"][1]}
        peer = cases.peer(scp, tls=True, ca=pairs["archive"][0], **ours)
        assert pull(peer, [SERIES], tmp_path / "in") == 0
        without = cases.peer(scp, tls=True, ca=pairs["archive"][0])
        with pytest.raises(VoxelwayError) as caught:
            pull(without, [SERIES], tmp_path / "out")
    assert caught.value.code == "E-PACS-TLS"


@pytest.mark.parametrize("ca", ["other", None])
def test_dimse_refuses_a_certificate_that_nobody_vouches_for(
    pairs: dict[str, Pair], ca: str | None, tmp_path: Path
) -> None:
    with cases.Scp(cases.cohort()).running(cases.server_context(pairs["archive"])) as scp:
        peer = cases.peer(scp, tls=True, ca=pairs[ca][0] if ca else "")
        with pytest.raises(VoxelwayError) as caught:
            pull(peer, [SERIES], tmp_path / "in")
    assert caught.value.code == "E-PACS-TLS" and scp.retrievals == []


def test_plain_dimse_with_an_archive_that_wants_tls(pairs: dict[str, Pair], tmp_path: Path) -> None:
    context = cases.server_context(pairs["archive"])
    with (
        cases.Scp(cases.cohort()).running(context) as scp,
        pytest.raises(VoxelwayError) as caught,
    ):
        pull(cases.peer(scp, retries=0), [SERIES], tmp_path / "in")
    assert caught.value.code == "E-PACS-UNREACHABLE" and "TLS" in str(caught.value)


def test_certificate_files_that_do_not_fit(pairs: dict[str, Pair], tmp_path: Path) -> None:
    peer = cases.peer(cases.Scp([]), tls=True, ca=str(tmp_path / "none.pem"))
    with pytest.raises(VoxelwayError) as caught:
        peer.client_tls()
    assert caught.value.code == "E-PACS-TLS"
    wrong = {"certificate": pairs["ours"][0], "key": pairs["other"][1]}
    with pytest.raises(VoxelwayError) as caught:
        cases.peer(cases.Scp([]), tls=True, **wrong).client_tls()
    assert caught.value.code == "E-PACS-TLS"
    with pytest.raises(VoxelwayError) as caught:
        cases.peer(cases.Scp([]), tls=True).server_tls()
    assert caught.value.code == "E-PACS-TLS" and "certificate" in str(caught.value)


# the web


def test_web_pull_and_push(tmp_path: Path) -> None:
    with cases.Web(cases.cohort()).running() as web:
        assert pull(cases.web_peer(web), [Request(1, {"PatientID": cases.PATIENT})],
                    tmp_path / "in") == 0  # fmt: skip
        found = [pydicom.dcmread(path) for path in (tmp_path / "in").rglob("*.dcm")]
        assert len(found) == 20
        assert all(item == web.datasets[str(item.SOPInstanceUID)] for item in found)
        # one that is lost on the disk comes alone
        next((tmp_path / "in").rglob("*.dcm")).unlink()
        web.requests.clear()
        assert pull(cases.web_peer(web), [Request(1, {"PatientID": cases.PATIENT})],
                    tmp_path / "in") == 0  # fmt: skip
        fetched = [one for one in web.requests if len(one.strip("/").split("/")) == 7]
        assert len(fetched) == 1 and files(tmp_path / "in") == 20
    with cases.Web([]).running() as empty:
        assert push(cases.web_peer(empty), [tmp_path / "in"]) == 0
        assert empty.datasets == {str(item.SOPInstanceUID): item for item in found}
        assert empty.requests == ["POST /studies"]


def test_web_goes_on_after_a_passing_fault(tmp_path: Path) -> None:
    with cases.Web(cases.cohort()).running() as web:
        web.faults = [503, 500]
        assert pull(cases.web_peer(web), [SERIES], tmp_path / "in") == 0
    assert files(tmp_path / "in") == 5


@pytest.mark.parametrize(("status", "code"), [(400, "E-PACS-QUERY"), (403, "E-PACS-AUTH")])
def test_web_faults_are_told_without_the_query(
    status: int, code: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with cases.Web(cases.cohort()).running() as web:
        web.faults = [status] * 9
        request = Request(4, {"PatientID": cases.PATIENT})
        try:
            pull(cases.web_peer(web, retries=0), [request], tmp_path / "in")
            told = ""
        except VoxelwayError as error:
            told = str(error)
    told += capfd.readouterr().err
    assert code in told and str(status) in told and cases.PATIENT not in told


def test_web_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cases.Web(cases.cohort(), "reader", "s3cret").running() as web:
        with pytest.raises(VoxelwayError) as caught:
            pull(cases.web_peer(web), [SERIES], tmp_path / "in")
        assert caught.value.code == "E-PACS-AUTH"
        monkeypatch.setenv("RESEARCH_USER", "reader")
        monkeypatch.setenv("RESEARCH_PASSWORD", "s3cret")
        peer = cases.web_peer(web, credentials_env="RESEARCH")
        assert pull(peer, [SERIES], tmp_path / "in") == 0
        assert "s3cret" not in repr(peer) + repr(peer.secrets())
    assert files(tmp_path / "in") == 5


def test_credentials_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text("user: reader\npassword: s3cret\n")
    entry = {"name": "a", "via": "web", "url": "http://localhost:1", "credentials": str(path)}
    path.chmod(0o644)
    with pytest.raises(VoxelwayError) as caught:
        read_peer({"peers": [entry]}).secrets()
    assert caught.value.code == "E-PACS-CREDENTIALS" and "0644" in str(caught.value)
    path.chmod(0o600)
    found = read_peer({"peers": [entry]}).secrets()
    assert (found.user, found.password) == ("reader", "s3cret")
    # over a network without TLS they are not sent
    entry["url"] = "http://pacs.example.org/dicom-web"
    with pytest.raises(VoxelwayError) as caught:
        read_peer({"peers": [entry]}).secrets()
    assert caught.value.code == "E-PACS-CREDENTIALS" and "s3cret" not in str(caught.value)
    path.write_text("password: {s3cret\n")
    with pytest.raises(VoxelwayError) as caught:
        read_peer({"peers": [{**entry, "url": "https://a"}]}).secrets()
    assert "s3cret" not in str(caught.value)


def test_web_over_tls(
    pairs: dict[str, Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the environment must not replace the archive's own certificate
    monkeypatch.setitem(os.environ, "REQUESTS_CA_BUNDLE", pairs["other"][0])
    with cases.Web(cases.cohort()).running(cases.server_context(pairs["archive"])) as web:
        peer = cases.web_peer(web, ca=pairs["archive"][0])
        assert pull(peer, [SERIES], tmp_path / "in") == 0
        for ca in (pairs["other"][0], ""):
            with pytest.raises(VoxelwayError) as caught:
                pull(cases.web_peer(web, ca=ca), [SERIES], tmp_path / "out")
            assert caught.value.code == "E-PACS-TLS"


def test_web_address_that_is_none(tmp_path: Path) -> None:
    peer = read_peer({"retries": 0, "peers": [{"name": "a", "via": "web",
                                               "url": "http://127.0.0.1:1/x"}]})  # fmt: skip
    with pytest.raises(VoxelwayError) as caught:
        pull(peer, [SERIES], tmp_path / "in")
    assert caught.value.code == "E-PACS-UNREACHABLE"
