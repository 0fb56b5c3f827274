"""Listeners of a broker with TLS and SASL, beside the plain one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.kafka.broker import Broker
from recsys.commands.demo.ports import free_ports

USER, PASSWORD = "recsys", "of the test"
PROTOCOLS = ("SSL", "SASL_SSL", "SASL_PLAINTEXT")


def settings(folder: Path, port: int) -> dict[str, str]:
    """Of a broker in `folder` whose plain listener is at `port`, with a certificate of its own in FOLDER/ca.pem."""
    key, certificate, both = folder / "key.pem", folder / "ca.pem", folder / "server.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *made, *subject], check=True, capture_output=True)
    both.write_text(key.read_text() + certificate.read_text())
    controller, *others = [one for one in free_ports(len(PROTOCOLS) + 2) if one != port]
    ports = {"PLAINTEXT": port} | dict(zip(PROTOCOLS, others, strict=False))
    listeners = [f"{name}://127.0.0.1:{at}" for name, at in ports.items()]
    login = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    for protocol, at in ports.items():
        (folder / protocol).write_text(str(at))
    return {
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": ",".join([*listeners, f"CONTROLLER://127.0.0.1:{controller}"]),
        "advertised.listeners": ",".join(listeners),
        "listener.security.protocol.map": ",".join(f"{name}:{name}" for name in ports) + ",CONTROLLER:PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(both),
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": login,
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": login,
    }


def server(broker: Broker, protocol: str) -> str:
    """HOST:PORT of a listener."""
    return f"127.0.0.1:{(broker.folder / protocol).read_text()}"
