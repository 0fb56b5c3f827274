"""Where the training loop stops."""

import threading
from pathlib import Path

import pytest

from recsys import wiring
from recsys.config.file import load
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events


@pytest.mark.parametrize("follow", [False, True])
def test_until_stops_before_the_first_later_event(tmp_path: Path, follow: bool) -> None:
    (tmp_path / "recsys.toml").write_text("[training]\nbatch_size = 2\nwait = '1s'\nlateness = '0s'\n")
    config = load(tmp_path / "recsys.toml")
    log = wiring.event_log(config)
    events: list[Event] = []
    for number in range(20):
        events.append(Impression(id=f"n{number}", time=1000 * number, user="u", items=["a"]))
        events.append(Interaction(time=1000 * number, impression=f"n{number}", item="a"))
    log.append(encode_events(events))
    with wiring.trainer(config, publish=False) as trainer:
        trainer.run(follow=follow, stop=threading.Event(), until=10_000)
        assert trainer.progress.rows == 10
    assert log.committed("trainer") == (20,)
    log.close()
