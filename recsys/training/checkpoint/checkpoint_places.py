"""What checkpoints have of users."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from embedding.snapshot.format import ids_of
from embedding.snapshot.snapshot_manifest import chain
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.checkpoint.manifest import bases
from serving.model.artefact import USER_TABLE
from streaming.encode.user_rows import user_ids
from streaming.feed import Feed


class KnownUsers:
    """Counts what a checkpoint has of `users`. `restored` makes the feed of the folder of a checkpoint's first part."""

    def __init__(self, users: Sequence[str], restored: Callable[[Path], Feed]) -> None:
        self._users, self._restored = users, restored

    def __call__(self, path: Path) -> int:
        """In the complete checkpoint `path`: what an erasure would still find. Raises StateError, LogError."""
        feed = self._restored(path / "rank-0")
        known = sum(feed.forget(user) for user in self._users)
        ids = user_ids(feed.encoder.spec, self._users)
        for rows in [each for own in sorted(path.glob("rank-*/rows")) for each in (own, *chain(own))]:
            for table, ids_U in ids_of(rows).items():
                known += int(np.isin(ids.get(table.removeprefix(USER_TABLE), ()), ids_U).sum())
        return known


class NewestCheckpoint:
    """The one that training goes on from. Only a trainer writes the next."""

    name = "newest checkpoint"
    remedy = "`recsys train` writes one without them as soon as it has read the erasure"

    def __init__(self, checkpoints: Checkpoints, known: Callable[[Path], int]) -> None:
        self._checkpoints, self._known = checkpoints, known

    def count(self) -> int:
        path = self._checkpoints.newest()
        return 0 if path is None else self._known(path)

    def remove(self) -> None:
        """Nothing: the trainer has the lock of the folder, and a state that is newer."""


class OlderCheckpoints:
    """Those that are kept in case the newest is damaged; with `now` they are removed once the newest has nothing."""

    name = "older checkpoints"
    remedy = "they go as newer ones are written; `recsys forget --now` removes them once the newest has nothing"

    def __init__(self, checkpoints: Checkpoints, known: Callable[[Path], int], *, now: bool) -> None:
        self._checkpoints, self._known, self._now = checkpoints, known, now

    def count(self) -> int:
        return sum(map(self._known, self._older()))

    def remove(self) -> None:
        newest = self._checkpoints.newest()
        if self._now and newest is not None and not self._known(newest):
            for path in filter(self._known, reversed(self._older())):  # what builds on others goes before them
                shutil.rmtree(path)

    def _older(self) -> list[Path]:
        newest = self._checkpoints.newest()
        kept = [] if newest is None else [newest, *bases(newest)]
        return [path for path in self._checkpoints.all() if path not in kept]
