"""Every place that may know something of a user."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from recsys.config.schema import Config
from recsys.wiring.online_training import co_visits
from recsys.wiring.publishing import redis_client, running_redis
from recsys.wiring.stream import event_log, feed, spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from serving.erasure.log_places import LogPlace
    from serving.erasure.place import Place
    from streaming.feed import Feed
    from streaming.log.event_log import EventLog


@contextmanager
def places(config: Config, users: Sequence[str], *, now: bool = False) -> Iterator[tuple[list[Place], LogPlace]]:
    """The places, in the order in which they are cleared, and that of the log, which is the last of what is written.

    With `now` older checkpoints are removed, too. Raises RedisServerError if Redis cannot be reached.
    """
    from recsys.training.checkpoint.checkpoint_places import KnownUsers, NewestCheckpoint, OlderCheckpoints
    from recsys.training.checkpoint.checkpoints import Checkpoints
    from serving.erasure.erasures import shared_places
    from streaming.kept.batches_place import BatchesPlace

    with ExitStack() as stack:
        stack.enter_context(running_redis(config))
        client = stack.enter_context(redis_client(config))
        log = event_log(config)
        stack.callback(log.close)
        shared, events = shared_places(log, client, spec(config), config.log.dead_letters, users)
        checkpoints, kept = Checkpoints(config.training.checkpoints), config.training.batches_folder
        known = KnownUsers(users, _restored(config, log))
        batches = [] if kept is None else [BatchesPlace(kept, users)]
        yield (
            [*shared, *batches, NewestCheckpoint(checkpoints, known), OlderCheckpoints(checkpoints, known, now=now)],
            events,
        )


def _restored(config: Config, log: EventLog) -> Callable[[Path], Feed]:
    """The feed of a part of a checkpoint, with what observes it."""
    from recsys.training.training_state import VISITS
    from streaming.catalog import Catalog

    def restored(folder: Path) -> Feed:
        visits = co_visits(config, Catalog(half_life=config.catalog.half_life))
        if visits is not None and (file := folder / VISITS).exists():
            visits.restore(file.read_bytes())
        source = feed(config, log, visits)
        source.restore((folder / "feed.bin").read_bytes())
        return source

    return restored
