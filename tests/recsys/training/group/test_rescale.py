"""Training that goes on with another number of processes, from checkpoints with open impressions and counters."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from recsys import wiring
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.training.learner import Learner
from recsys.wiring.group import channel, follower, leading_learner
from streaming.events.schema import Event, Impression, Interaction, UserUpdate
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner
from tests.embedding.torchrec.processes import run

pytestmark = pytest.mark.slow

LISTS = 400
START, EVERY = 1_700_000_000_000, 20_000
WORLDS = (1, 2, 4, 1)
SETTINGS = """
[features]
dim = 4
fields = [
  { name = "user", source = "user" },
  { name = "item", source = "item" },
  { name = "plan", source = "request.plan" },
  { name = "rate", source = "item.rate(click, 1h)", kind = "numeric" },
  { name = "seen", source = "user.count(impression, 24h)", kind = "numeric" },
  { name = "pair", source = "pair.count(click, 24h)", kind = "numeric" },
]
[model]
name = "fm"
[training]
batch_size = 32
checkpoint_every = 7
"""


def events() -> list[Event]:
    """Lists of three items, clicks up to 20 minutes after them, and plans that users change to."""
    rng = random.Random(0)
    found: list[Event] = []
    for number in range(LISTS):
        time, user = START + number * EVERY, f"u{rng.randrange(20)}"
        if not number % 10:
            found.append(UserUpdate(time=time, user=user, features={"plan": rng.choice("abc")}))
        items = [f"i{one}" for one in rng.sample(range(30), 3)]
        found.append(Impression(id=f"r{number}", time=time, user=user, items=items))
        if rng.random() < 0.5:
            at = time + rng.randrange(20 * 60_000)
            found.append(Interaction(time=at, impression=f"r{number}", item=rng.choice(items), action="click"))
    return sorted(found, key=lambda event: event.time)


def workspace(base: Path, name: str, more: str = "") -> Path:
    folder = base / name
    folder.mkdir()
    (folder / "recsys.toml").write_text(f"[log]\nurl = 'file:{base / 'log'}'\n{SETTINGS}{more}")
    return folder


def train(config: Config, folder: Path, until: int | None, learner: Learner | None = None) -> None:
    """From the last checkpoint on; leaves what the feed keeps and the dense weights, and how many lists are open."""
    with wiring.trainer(config, publish=False, learns=learner) as trainer:
        trainer.resume()
        trainer.run(follow=False, stop=threading.Event(), until=until)
        joiner = trainer._feed.joiner
        assert isinstance(joiner, Joiner)
        (folder / "feed").write_bytes(trainer._feed.state())
        (folder / "open").write_text(str(joiner.pending))
        dense = {name: tensor.contiguous() for name, tensor in trainer.learner.dense_state().items()}
        save_file(dense, folder / "dense")


def in_a_group(rank: int, _world: int, folder: Path, until: int | None) -> None:
    config, link = load(folder / "recsys.toml"), channel()
    if rank:
        follower(config, link).run()
        return
    learner = leading_learner(config, link)
    train(config, folder, until, learner)
    learner.dismiss()


def test_training_goes_on_with_any_number_of_processes(tmp_path: Path) -> None:
    """One, two, four and one again, with impressions that wait in files: the feed, so also its counters, is the same
    to the bit, and weights but for rounding."""
    alone, rescaled = workspace(tmp_path, "alone"), workspace(tmp_path, "rescaled", "pending_folder = 'pending'\n")
    config = load(alone / "recsys.toml")
    log = wiring.event_log(config)
    log.append(encode_events(events()))
    log.close()
    wiring.set_threads(config)
    train(config, alone, None)
    for number, world in enumerate(WORLDS, 1):
        until = START + LISTS * EVERY * number // len(WORLDS) if number < len(WORLDS) else None
        if world == 1:
            train(load(rescaled / "recsys.toml"), rescaled, until)
        else:
            run(world, in_a_group, rescaled, until)
        assert int((rescaled / "open").read_text()) > 10
    assert (rescaled / "pending").is_dir()
    assert (rescaled / "feed").read_bytes() == (alone / "feed").read_bytes()
    one, other = load_file(alone / "dense"), load_file(rescaled / "dense")
    assert one.keys() == other.keys()
    assert one["moments.mean"].abs().min() > 0
    for name, tensor in one.items():
        if name.startswith("moments."):
            assert torch.equal(tensor, other[name]), "what was counted differs"
        elif name != "random":
            torch.testing.assert_close(other[name], tensor, rtol=1e-3, atol=1e-4)
