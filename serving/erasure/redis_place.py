"""What Redis has of users: features, histories, counters, embedding rows, impressions that can still be clicked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import redis
from redis.client import Pipeline

from recsys.errors import RedisServerError
from serving.model.artefact import USER_TABLE
from serving.replication import delta_messages
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import run_of, tail
from serving.replication.publish.redis_writer import KEYS_PER_COMMAND, add_message
from streaming.encode.feature_spec import FeatureSpec
from streaming.encode.user_rows import user_ids
from streaming.windows.part import of_user


class RedisPlace:
    """The keys that name the users or their `impressions`, or hold a row of theirs by `spec`, of every model.

    What a server keeps of them in memory is read again at its next use, or removed by the trainer's next delta.
    """

    name = "Redis"
    remedy = "a trainer that has not read the erasure yet has published them: `recsys status` shows how far it is"

    def __init__(
        self,
        client: RedisClient,
        spec: FeatureSpec | None,
        users: Sequence[str],
        impressions: Callable[[], Collection[str]],
    ) -> None:
        """Without `spec` no row is anybody's."""
        self._client, self._users, self._impressions = client, users, impressions
        self._names = client.names
        self._ids = {} if spec is None else user_ids(spec, users)

    def count(self) -> int:
        with _answering():
            return len(self._keys())

    def remove(self) -> None:
        with _answering():
            for names in _parts(self._keys()):
                self._client.by_slot(names, lambda group, pipe: pipe.unlink(*group))
            with self._client.pipeline() as pipe:
                for users in _parts(self._users):
                    notice = delta_messages.EntityChange(users=users)
                    add_message(pipe, self._names.entities, delta_messages.encode_entities(notice))
                pipe.execute()

    def _keys(self) -> list[str]:
        """Those that are there."""
        named = [key(user) for user in self._users for key in (self._names.user, self._names.visited_user)]
        named += map(self._names.shown, self._impressions())
        named += self._rows()
        found = list(self._counted())
        for names in _parts(named):
            asked: list[str] = []
            there = self._client.by_slot(names, partial(_exist, asked))
            found += [name for name, is_there in zip(asked, there, strict=True) if is_there]
        return found

    def _rows(self) -> Iterator[str]:
        """Of every model and run that has rows or a graph."""
        found = self._scan("*:sequence") + self._scan("*:artefact", self._names.together)
        for run in sorted({run for key in found if (run := run_of(key)) is not None}):
            of_model = self._names.model(*run)
            for table, ids_U in self._ids.items():
                for prefix in ("", USER_TABLE):
                    yield from of_model.rows(prefix + table, ids_U)

    def _counted(self) -> Iterator[str]:
        own = {kind: [of_user(kind, user) for user in self._users] for kind in ("user", "pair", "history")}
        for key in {*self._scan("counted:*:*:*")}:
            _, _, kind, name = tail(key).split(":", 3)
            if any(is_own is not None and is_own(name) for is_own in own.get(kind, ())):
                yield key.decode()

    def _scan(self, ending: str, beginning: str = "") -> list[bytes]:
        """Keys that are spread, or those with another beginning."""
        pattern = beginning + ending if beginning else self._names.every(ending)
        return [key for node in self._client.nodes() for key in node.scan_iter(pattern, count=KEYS_PER_COMMAND)]


def _exist(asked: list[str], names: list[str], pipe: Pipeline) -> None:
    asked += names
    for name in names:
        pipe.exists(name)


def _parts(names: Sequence[str]) -> Iterator[list[str]]:
    return (list(names[start : start + KEYS_PER_COMMAND]) for start in range(0, len(names), KEYS_PER_COMMAND))


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise RedisServerError(f"Redis does not answer, and what it has of the users is not known: {error}") from error
