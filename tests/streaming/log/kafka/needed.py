"""What the tests of Kafka need on this machine."""

from __future__ import annotations

import os

import pytest

from deploy.kafka.broker import PACKAGES, missing


def need_kafka() -> None:
    """Skip the test, or fail it in CI, where the programs are missing that a broker needs."""
    if lacking := missing():
        needed = f"{' and '.join(lacking)} not found: install {PACKAGES} for the tests of Kafka"
        if os.environ.get("CI"):
            pytest.fail(needed)
        pytest.skip(needed)
