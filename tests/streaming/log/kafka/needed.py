"""What the tests of Kafka need on this machine."""

from __future__ import annotations

from deploy.kafka.broker import PACKAGES, missing
from tests.needed import need


def need_kafka() -> None:
    """Skip the test, or fail it in CI, where the programs are missing that a broker needs."""
    need(missing(), PACKAGES, "Kafka")
