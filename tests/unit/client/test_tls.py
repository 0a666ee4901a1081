"""How both clients and the command check the certificate of an https service."""

import ssl
import subprocess
from pathlib import Path

import pytest

from densenet_client import ClientError, ServerUnreachable
from testing.fake_service import FakeService
from tests.command import run
from tests.unit.client.conftest import Connect


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that no authority has signed, in one file with its key."""
    folder = tmp_path_factory.mktemp("tls")
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 1"
    name = "-subj /CN=photos -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(f"{make} {name}".split(), cwd=folder, capture_output=True, check=True)
    path = folder / "both.pem"
    path.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return path


@pytest.fixture
def https(fake: FakeService, certificate: Path) -> FakeService:
    """The fake service behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    fake.server.socket = context.wrap_socket(fake.server.socket, server_side=True)
    fake.server.handle_error = lambda *_: None  # type: ignore[method-assign]
    fake.url = fake.url.replace("http:", "https:")
    return fake


def test_an_unknown_authority_is_refused(connect: Connect, https: FakeService) -> None:
    with connect(https.url) as client, pytest.raises(ServerUnreachable, match="TLS failed"):
        client.classify(b"cat")


def test_an_authority_can_be_given(
    connect: Connect, https: FakeService, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
    with connect(https.url, verify=certificate) as client:
        assert len(client.classify(b"cat")) == 1


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_the_check_can_be_left_out(connect: Connect, https: FakeService) -> None:
    with connect(https.url, verify=False) as client:
        assert len(client.classify(b"cat")) == 1


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_without_certificates_is_named(
    connect: Connect, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClientError, match=r"authorities\.pem holds no certificates"):
        connect("https://photos.example", verify=path)


def test_the_command_takes_both_options(https: FakeService, certificate: Path) -> None:
    done = run("-", "--url", https.url, stdin=b"cat")
    assert done.returncode == 2
    assert "TLS failed" in done.stderr
    for option in (("--ca", certificate), ("--insecure",)):
        done = run("-", *option, "--url", https.url, stdin=b"cat")
        assert (done.returncode, done.stderr) == (0, "")
    done = run("-", "--ca", certificate.with_name("none.pem"), "--url", https.url, stdin=b"cat")
    assert done.returncode == 2
    assert "none.pem holds no certificates" in done.stderr
