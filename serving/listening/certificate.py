"""TLS of the server: its certificate and private key, read with errors that name the file."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from pathlib import Path

from recsys.errors import InvalidValueError

_SOON = 14 * 86_400
"""Seconds before a certificate expires in which it is warned of."""


def tls_context(certificate: Path, private_key: Path) -> ssl.SSLContext:
    """What the server speaks TLS with, 1.2 at least. Raises InvalidValueError for files that cannot be used."""
    _check_pem("certificate", certificate, b"-----BEGIN CERTIFICATE-----")
    key = _check_pem("private_key", private_key, b"PRIVATE KEY-----")
    if b"ENCRYPTED" in key:
        raise InvalidValueError(
            f"private_key: {private_key} is encrypted, and nobody can type its password: write it anew without one "
            "(openssl pkey), readable by the server alone"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, private_key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"private_key: {private_key} is not the key of the certificate {certificate}"
        else:
            message = f"certificate: OpenSSL does not take {certificate} with {private_key} ({error.reason or error})"
        raise InvalidValueError(message) from None
    return context


def certificate_warning(context: ssl.SSLContext, certificate: Path) -> str:
    """Why all clients refuse the certificate, or soon will; empty if there is nothing to say.

    Found by a handshake with ourselves, in memory, in which the certificate is trusted.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    try:
        expires = _seen_by(client, context)
    except ssl.SSLCertVerificationError as error:
        return f"clients will refuse the certificate {certificate}: {error.verify_message}; get a new one"
    days = (expires - time.time()) / 86_400
    return f"the certificate {certificate} expires in {days:.0f} days; get a new one" if days * 86_400 < _SOON else ""


def _check_pem(setting: str, path: Path, line: bytes) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"{setting}: cannot read {path} ({error.strerror}); name a PEM file") from None
    if line not in content:
        raise InvalidValueError(f"{setting}: {path} is not PEM: it has no line with {line.decode().strip('-')}")
    return content


def _seen_by(client: ssl.SSLContext, server: ssl.SSLContext) -> float:
    """When the server's certificate expires, in seconds since the epoch, for a client that accepts it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    for end in (theirs, ours, theirs):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    found = theirs.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(found["notAfter"])))
