"""`recsys train`, as a person meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.config.file import load
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events

CONFIG = """
[features]
dim = 4
[features.tables.item]
capacity = {capacity}
[model]
name = "fm"
[training]
batch_size = 8
wait = "1s"
lateness = "0s"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Lists of eight items, none of them shown twice."""
    path = tmp_path / "recsys.toml"
    path.write_text(CONFIG.format(capacity=4))
    events: list[Event] = []
    for number in range(10):
        shown = [f"i{number}.{place}" for place in range(8)]
        events.append(Impression(id=f"n{number}", time=10_000 * number, user="u", items=shown))
        events.append(Interaction(time=10_000 * number, impression=f"n{number}", item=shown[0]))
    log = wiring.event_log(load(path))
    log.append(encode_events(events))
    log.close()
    return path


def train(config: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["train", "-c", str(config), "--once", "--no-publish", *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_it_ends_with_the_counters_of_each_table(config: Path) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in train(config).splitlines() if line.strip()}
    names = ["live", "evicted", "expired", "unadmitted", "refused", "stale", "nonfinite", "ahead"]
    assert rows["table"] == [*names, "MiB"]
    item = dict(zip(names, map(int, rows["item"]), strict=False))
    batches = item["refused"] // 4
    assert batches > 5  # each of eight ids, for which there are four rows
    assert item == {
        "live": 4, "evicted": 4 * (batches - 1), "expired": 0, "unadmitted": 0, "refused": 4 * batches, "stale": 0,
        "nonfinite": 0, "ahead": 0
    }  # fmt: skip
    assert float(rows["item"][-1]) >= 0


def test_a_table_too_small_for_a_batch_is_named_with_the_remedy(config: Path) -> None:
    said = " ".join(train(config, "--until", "1970-01-01T00:00:50").split())
    assert "look-ups of new ids were refused a row, because one batch has more distinct ids than capacity = 4" in said
    assert "raise it in [features.tables.item], or lower training.batch_size" in said
    config.write_text(CONFIG.format(capacity=100))
    resumed = train(config)
    assert "Resumed" in resumed
    assert "were refused" not in resumed
