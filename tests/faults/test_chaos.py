"""The whole loop through Kafka under traffic, with kill -9 of its processes one after the other.

`python -m benchmarks chaos` is the long form, with workers under Ray.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos import QUICK, endured
from tests.streaming.log.kafka.needed import need_kafka


@pytest.mark.slow
def test_killed_processes_lose_and_double_nothing_and_the_server_answers(graphs: Path) -> None:
    need_kafka()
    found = endured(QUICK, graphs)
    assert sorted(found.raw["kills"]) == ["broker", "redis", "server", "trainer"]
    assert found.raw["rankings"] > 0
    assert found.raw["trainer_goes_on"], "it was to begin at a checkpoint"
    assert [target for target in found.targets if not target.met] == []
