"""A trainer that reads the erasure of a user: what it knows after it, in memory and in its next checkpoint."""

import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from recsys import wiring
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.training.checkpoint.manifest import part_folder
from recsys.training.trainer import Trainer
from streaming.encode.user_rows import user_ids
from streaming.events.schema import Event, Impression, Interaction, UserUpdate
from streaming.ingest.codec import encode_events
from streaming.log.erasure import UserEvents, append_erasures
from streaming.log.file_log import FileLog

SETTINGS = """
[[features.fields]]
name = "who"
source = "user"
[[features.fields]]
name = "what"
source = "item"
[[features.fields]]
name = "town"
source = "request.town"
[[features.fields]]
name = "clicks"
kind = "numeric"
source = "pair.count(click, 1h)"
[[features.fields]]
name = "recent"
kind = "multi"
source = "user.recent(click, 5)"
table = "what"
[item_to_item]
enabled = true
[serving]
shares = { item_to_item = 0.5, popular = 0.5 }
[training]
batch_size = 4
wait = '5s'
lateness = '0s'
checkpoint_every = 100
"""
USERS = ("ada", "bob", "eve")


def visits(numbers: range, users: tuple[str, ...] = USERS) -> list[Event]:
    """Each user sees two items, clicks one, and moves house."""
    events: list[Event] = []
    for n in numbers:
        for user in users:
            events.append(Impression(id=f"{user}-{n}", time=1000 * n, user=user, items=[f"i{n % 3}", "j"]))
            events.append(Interaction(time=1000 * n + 1, impression=f"{user}-{n}", item=f"i{n % 3}"))
            events.append(UserUpdate(time=1000 * n + 2, user=user, features={"town": f"t{n}"}))
    return events


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "recsys.toml").write_text(SETTINGS)
    return load(tmp_path / "recsys.toml")


def write(config: Config, *parts: list[Event] | str) -> None:
    """Events, or the name of a user who is erased."""
    log = wiring.event_log(config)
    for part in parts:
        if isinstance(part, str):
            append_erasures(log, [part])
        else:
            log.append(encode_events(part))


def trained(config: Config) -> Trainer:
    with wiring.trainer(config, publish=False) as trainer:
        trainer.resume()
        trainer.run(follow=False, stop=threading.Event())
        return trainer


def has_row(trainer: Trainer, user: str) -> bool:
    learner = trainer.learner
    found = [learner.store.peek(table, ids_U).rows_N for table, ids_U in user_ids(learner.spec, [user]).items()]
    return bool((np.concatenate(found) >= 0).any())


def forgotten(trainer: Trainer, user: str) -> int:
    """How much an erasure would still find."""
    return trainer._feed.forget(user)


def test_nothing_is_known_of_the_user_and_all_of_the_others(config: Config) -> None:
    write(config, visits(range(20)), "ada", visits(range(20, 22), ("bob",)))
    trainer = trained(config)
    assert [has_row(trainer, user) for user in USERS] == [False, True, True]
    assert forgotten(trainer, "ada") == 0
    assert forgotten(trainer, "bob") > 0
    assert trainer._feed.joiner.tallies["forgotten"] > 0


def test_the_checkpoint_after_it_has_nothing_even_if_no_batch_follows(config: Config) -> None:
    write(config, visits(range(20)))
    before = trained(config)
    assert has_row(before, "ada")
    write(config, "ada")
    trained(config)
    with wiring.trainer(config, publish=False) as trainer:
        path = trainer.resume()
        assert path is not None
        assert trainer.learner.steps == before.learner.steps
        assert not has_row(trainer, "ada")
        assert forgotten(trainer, "ada") == 0
    for file in ("feed.bin", "co_visits.bin"):
        assert msgspec.msgpack.encode("ada") not in (part_folder(path) / file).read_bytes()
        assert msgspec.msgpack.encode("bob") in (part_folder(path) / file).read_bytes()


def test_a_user_who_comes_back_is_a_new_one(config: Config) -> None:
    write(config, visits(range(20)), "ada", visits(range(20, 40)))
    trainer = trained(config)
    assert has_row(trainer, "ada")
    assert trainer._feed.entities.users.at("ada", 15_000) == {}
    assert trainer._feed.entities.users.latest("ada") == {"town": "t39"}


def test_a_rewritten_log_leads_to_the_same_knowledge_of_every_user(config: Config, tmp_path: Path) -> None:
    write(config, visits(range(20)), "ada", visits(range(20, 22), ("bob",)))
    whole = trained(config)
    log = FileLog(tmp_path / "run" / "log")
    UserEvents(log, ["ada"]).remove(log)
    (tmp_path / "again.toml").write_text(SETTINGS + 'checkpoints = "again"\n')
    again = trained(load(tmp_path / "again.toml"))
    assert [has_row(again, user) for user in USERS] == [False, True, True]
    assert again._feed.entities.state() == whole._feed.entities.state()
    assert again._feed.streamed.state() == whole._feed.streamed.state()
    assert again._feed.joiner.sequence == whole._feed.joiner.sequence
    assert again._feed.cursor == whole._feed.cursor
