"""TLS and SASL, on a real broker with a certificate that it signed itself."""

from __future__ import annotations

import pytest

from deploy.kafka.broker import Broker
from recsys.errors import InvalidValueError, LogError
from tests.contracts.event_log import events, read_all
from tests.streaming.log.kafka import secure
from tests.streaming.log.kafka.conftest import Open
from tests.streaming.log.kafka.test_kafka_faults import topic_of

pytestmark = pytest.mark.slow

LOGIN = f"mechanism=plain&user={secure.USER}&password=env:KAFKA_PASSWORD"


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", secure.PASSWORD)


def at(broker: Broker, protocol: str, url: str, *options: str) -> str:
    query = "&".join((f"security={protocol.lower()}", *options))
    return f"kafka://{secure.server(broker, protocol)}/{topic_of(url)}?{query}"


@pytest.mark.parametrize("protocol", secure.PROTOCOLS)
def test_events_go_through_an_encrypted_and_authenticated_connection(
    open_kafka: Open, broker: Broker, url: str, protocol: str
) -> None:
    options = [f"ca={broker.folder / 'ca.pem'}"] if protocol.endswith("SSL") else []
    options += [LOGIN] if protocol.startswith("SASL") else []
    log = open_kafka(at(broker, protocol, url, "timeout=120", *options), 1)
    log.append(events(0, 10))
    log.commit("trainer", log.end())
    assert read_all(log) == read_all(open_kafka(url)) == list(range(10))
    assert log.committed("trainer") == log.end()


def test_a_wrong_password_is_among_what_may_be_wrong(
    open_kafka: Open, broker: Broker, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "another")
    with pytest.raises(LogError, match=r"a broker that refuses .* user or password does not answer") as caught:
        open_kafka(at(broker, "SASL_PLAINTEXT", url, "timeout=3", LOGIN))
    assert "another" not in str(caught.value)
    monkeypatch.delenv("KAFKA_PASSWORD")
    with pytest.raises(InvalidValueError, match="environment variable KAFKA_PASSWORD, which is not set"):
        open_kafka(at(broker, "SASL_PLAINTEXT", url, "timeout=3", LOGIN))


def test_a_certificate_that_nobody_vouches_for_is_refused(open_kafka: Open, broker: Broker, url: str) -> None:
    with pytest.raises(LogError, match="a broker that refuses security, ca, "):
        open_kafka(at(broker, "SSL", url, "timeout=3"))
