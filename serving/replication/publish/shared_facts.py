"""Who writes what all models share: features, catalogue, counters. One trainer does, else a slow one would undo the
work of one that has read further."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
from redis.client import Pipeline

from recsys.errors import FileError, PromotionError, file_errors
from serving.replication import trainer_status
from serving.replication.keys import KeyNames
from serving.replication.promotions import Promotion, champion_of, decoded
from serving.replication.publish.redis_writer import RedisWriter
from streaming.log.durable_files import replace

_logger = logging.getLogger(__name__)
FILE = "promotions.json"


class SharedFacts:
    """Decides for the trainer of `model`. Raises PublishError when Redis does not answer.

    It also keeps a copy of the record of promotions in `folder` (if there is one), and puts it back when Redis has
    lost it: else servers that start would fall back to the model `online`.
    """

    def __init__(self, redis: RedisWriter, model: str, folder: Path | None = None) -> None:
        self._redis, self._names = redis, redis.client.names
        self._model = model
        self._folder = folder
        self._kept = _read(folder)
        """Entries of the record as Redis has them."""
        self._known = decoded(self._kept)

    def owned(self, *, caught_up: bool) -> bool:
        """Whether this trainer writes the facts: that of the champion, or one that has caught up while none publishes
        the champion."""
        champion = self.champion()
        if champion == self._model:
            return True
        return caught_up and not self._redis.do(lambda: self._redis.client.exists(self._names.model(champion).lease))

    def layouts_of_champion(self) -> frozenset[str]:
        """The layouts of counters that the champion's trainer writes."""
        key = self._names.model(self.champion()).status
        status = trainer_status.decode(self._redis.do(lambda: cast(bytes | None, self._redis.client.get(key))))
        return frozenset(() if status is None else status.status.get("counted", ()))

    def champion(self) -> str:
        return champion_of(self._agreed())

    def _agreed(self) -> list[Promotion]:
        """The record in Redis, put back if Redis has lost the end of it."""
        found = self._redis.do(lambda: cast(list[bytes], self._redis.client.lrange(self._names.promotions, 0, -1)))
        if len(found) < len(self._kept) and self._kept[: len(found)] == found:
            restore = partial(_restore, self._kept, self._names)
            self._redis.do(lambda: self._redis.client.transaction(restore, self._names.promotions))
        elif found != self._kept:
            try:
                known = decoded(found)
            except PromotionError as error:
                _logger.warning("going by the last champion that is known, %s: %s", champion_of(self._known), error)
                return self._known
            self._keep(found)
            self._known = known
        return self._known

    def _keep(self, entries: list[bytes]) -> None:
        self._kept = entries
        if self._folder is not None:
            try:
                with file_errors("the copy of promotions", self._folder):
                    replace(self._folder / FILE, msgspec.json.encode([entry.decode() for entry in entries]))
            except FileError as error:
                _logger.warning("%s; it is lost if Redis loses its data and this trainer ends", error)


def _restore(kept: list[bytes], names: KeyNames, pipe: Pipeline) -> None:
    found = cast(list[bytes], pipe.lrange(names.promotions, 0, -1))
    pipe.multi()
    if kept[: len(found)] == found and len(found) < len(kept):
        pipe.rpush(names.promotions, *kept[len(found) :])


def _read(folder: Path | None) -> list[bytes]:
    """The copy in the folder; empty if there is none, or none that can be read."""
    if folder is None or not (file := folder / FILE).exists():
        return []
    try:
        entries = [entry.encode() for entry in msgspec.json.decode(file.read_bytes(), type=list[str])]
        decoded(entries)
    except (OSError, msgspec.DecodeError, PromotionError) as error:
        _logger.warning("%s cannot be read, it is left out: %s", file, error)
        return []
    return entries
