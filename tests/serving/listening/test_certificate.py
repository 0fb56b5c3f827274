"""TLS: what is said of files that cannot be used, and requests through it."""

from __future__ import annotations

import datetime
import logging
import socket
import ssl
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from recsys.config.file import parse
from recsys.errors import ConfigError, InvalidValueError
from serving.assembly import build
from serving.listening.certificate import tls_context
from serving.listening.http_server import tls_of
from serving.process_settings import Settings
from streaming.log.memory_log import MemoryLog
from tests.serving.fakes import Graphs
from tests.serving.running import running


class Pair(NamedTuple):
    certificate: Path
    private_key: Path


def pem(key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def made(folder: Path, name: str = "good", begin: float = -1, days: float = 90) -> Pair:
    """A certificate of 127.0.0.1 that signs itself, valid for `days` from `begin` days after now, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=begin)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=days))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    files = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    files.certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    files.private_key.write_bytes(pem(key))
    return files


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return made(tmp_path_factory.mktemp("tls"))


def trusting(pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(pair.certificate)
    return context


def test_requests_through_tls(pair: Pair, redis_folder: Path, client: Any) -> None:
    settings = replace(Settings(), redis_folder=redis_folder)
    app, tls = build(settings, MemoryLog(), Graphs()), tls_of(*pair)
    with running(app, tls, trusting(pair)) as https:
        assert https.get("/healthz").text == "ok\n"
        body = {"user": "u", "items": [f"item {i}" for i in range(500)]}
        assert len(https.post("/v1/rank", json=body).json()["items"]) == 500
        place = (https.base_url.host, https.base_url.port or 0)
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(https.base_url.join("/healthz"))
        with socket.create_connection(place, timeout=120) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP" not in plain.recv(100), "who speaks no TLS is told nothing"
        assert https.get("/healthz").text == "ok\n"


def test_files_that_cannot_be_used(pair: Pair, tmp_path: Path) -> None:
    other, missing, text = made(tmp_path, "other"), tmp_path / "missing.pem", tmp_path / "text.pem"
    text.write_text("no PEM")
    broken, locked = tmp_path / "broken.pem", tmp_path / "locked.key"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    locked.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    for certificate, private_key, reason in (
        (missing, pair.private_key, f"certificate: cannot read {missing} (No such file"),
        (pair.certificate, missing, f"private_key: cannot read {missing} (No such file"),
        (tmp_path, pair.private_key, f"certificate: cannot read {tmp_path} (Is a directory"),
        (text, pair.private_key, f"certificate: {text} is not PEM"),
        (pair.certificate, pair.certificate, f"private_key: {pair.certificate} is not PEM"),
        (pair.certificate, other.private_key, f"private_key: {other.private_key} is not the key of the certificate"),
        (pair.certificate, locked, f"private_key: {locked} is encrypted"),
        (broken, pair.private_key, f"certificate: OpenSSL does not take {broken}"),
    ):
        with pytest.raises(InvalidValueError) as told:
            tls_context(certificate, private_key)
        assert str(told.value).startswith(reason)


def test_both_in_one_file(pair: Pair, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair.private_key.read_bytes() + pair.certificate.read_bytes())
    assert tls_context(both, both).minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("begin", "days", "warning"),
    [(-1, 90, ""), (-10, 5, "certificate has expired"), (5, 10, "not yet valid"), (-1, 11.5, "expires in 10 days")],
)
def test_what_clients_will_refuse_is_warned_of(
    begin: float, days: float, warning: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = made(tmp_path, "dated", begin, days)
    with caplog.at_level(logging.WARNING):
        assert tls_of(*files) is not None
    assert warning in caplog.text
    assert (str(files.certificate) in caplog.text) == bool(warning)


def test_settings(tmp_path: Path) -> None:
    config = parse('[serving]\ncertificate = "tls/c.pem"\nprivate_key = "/etc/k.pem"\n', tmp_path / "recsys.toml")
    rooted = config.rooted(tmp_path).serving
    assert (rooted.certificate, rooted.private_key) == (tmp_path / "tls/c.pem", Path("/etc/k.pem"))
    assert tls_of(None, None) is None
    for one, other in (("certificate", "private_key"), ("private_key", "certificate")):
        with pytest.raises(ConfigError, match=f"{one}: has no effect without {other}"):
            parse(f'[serving]\n{one} = "x.pem"\n', tmp_path / "recsys.toml")
