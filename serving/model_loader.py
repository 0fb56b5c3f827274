"""Keeps models current: follows the delta streams, swaps scorers when an artefact is replaced, reconnects for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import redis

from serving import delta_wire
from serving.artefact import Artefact
from serving.availability import Availability
from serving.keys import ModelKeys
from serving.row_cache import RowCache
from serving.rows import RedisRows
from serving.served_model import OpenScorer, ServedModel
from streaming.encoder import Encoder

_logger = logging.getLogger(__name__)
_BLOCK = 200
"""Longest wait (ms) for news, so that closing and refreshing are prompt."""
_PAUSE = 0.1
_REFRESH = 1.0


@dataclass(slots=True)
class _Followed:
    """How far a model's stream was read."""

    keys: ModelKeys
    position: str = ""
    sequence: int | None = None
    rows: RowCache | None = None


class ModelLoader:
    """Follows `models` in a thread. `connect` gives a client whose time-out is longer than a wait for news (0.2 s).

    `refresh` is called with the client about once a second (for the catalogue), `revive` when Redis is gone (to start
    an embedded one again). An artefact that is damaged, or that the scorer refuses, is reported in `refused`, and the
    model's previous version goes on serving.
    """

    def __init__(
        self,
        connect: Callable[[], redis.Redis],
        row_client: redis.Redis,
        models: Iterable[str],
        open_scorer: OpenScorer,
        cache_rows: int,
        availability: Availability,
        refresh: Callable[[redis.Redis], None] = lambda _: None,
        revive: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._row_client = row_client
        self._followed = [_Followed(ModelKeys(name)) for name in models]
        self._open_scorer = open_scorer
        self._cache_rows = cache_rows
        self._refresh = refresh
        self._revive = revive
        self._clock = clock
        self._stopped = threading.Event()
        self._caught_up = threading.Event()
        self._refreshed = -float("inf")
        self._models: dict[str, ServedModel] = {}
        self.refused: dict[str, str] = {}
        """Why a model's newest artefact is not served, by model."""
        self._availability = availability
        self._thread = threading.Thread(target=self._run, name="model-loader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def get(self, name: str) -> ServedModel | None:
        """The model's current version; None before the first one came."""
        return self._models.get(name)

    @property
    def models(self) -> dict[str, ServedModel]:
        return dict(self._models)

    @property
    def names(self) -> list[str]:
        return [followed.keys.model for followed in self._followed]

    def wait(self, timeout: float) -> bool:
        """Wait until Redis was read once; False when that took longer than `timeout` seconds."""
        return self._caught_up.wait(timeout)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._connect() as client:
                    self._follow(client)
            except redis.RedisError as error:
                if self._caught_up.is_set():
                    _logger.warning("Redis is gone, serving from the cache: %s", error)
                self._availability.up = False
                self._try_to_revive()
                self._stopped.wait(_PAUSE)

    def _try_to_revive(self) -> None:
        try:
            self._revive()
        except (OSError, RuntimeError) as error:
            _logger.warning("Redis cannot be started: %s", error)

    def _follow(self, client: redis.Redis) -> None:
        for followed in self._followed:
            self._catch_up(client, followed)
        self._refresh_if_due(client)
        self._caught_up.set()
        while not self._stopped.is_set():
            self._availability.up = True
            streams: dict[Any, Any] = {followed.keys.deltas: followed.position for followed in self._followed}
            if streams:
                news = cast(Any, client.xread(streams, count=64, block=_BLOCK))
                self._take(client, news)
            else:
                self._stopped.wait(_BLOCK / 1000)
            self._refresh_if_due(client)

    def _refresh_if_due(self, client: redis.Redis) -> None:
        if self._clock() - self._refreshed >= _REFRESH:
            self._refresh(client)
            self._refreshed = self._clock()

    def _catch_up(self, client: redis.Redis, followed: _Followed) -> None:
        """Go on where we were if the stream still has that entry, else from its end with an empty cache."""
        stream = followed.keys.deltas
        known = followed.position not in ("", "0-0")
        if not (known and client.xrange(stream, followed.position, followed.position)):
            last = cast(Any, client.xrevrange(stream, count=1))
            followed.position = last[0][0].decode() if last else "0-0"
            followed.sequence = None
            if followed.rows is not None:
                followed.rows.clear()
        self._load(client, followed)

    def _take(self, client: redis.Redis, news: Any) -> None:
        for stream, entries in news:
            followed = next(f for f in self._followed if f.keys.deltas.encode() == stream)
            for position, entry in entries:
                self._apply(client, followed, entry[delta_wire.FIELD])
                followed.position = position.decode()

    def _apply(self, client: redis.Redis, followed: _Followed, data: bytes) -> None:
        try:
            message = delta_wire.decode(data)
            if isinstance(message, delta_wire.NewArtefact):
                self._load(client, followed)
            else:
                self._apply_rows(followed, message)
        except ValueError as error:
            _logger.error("model %r: row changes cannot be read, cache emptied: %s", followed.keys.model, error)
            if followed.rows is not None:
                followed.rows.clear()

    def _apply_rows(self, followed: _Followed, message: delta_wire.RowMessage) -> None:
        rows = followed.rows
        skipped = followed.sequence is not None and message.sequence > followed.sequence + 1
        if rows is not None and (skipped or isinstance(message, delta_wire.Reset)):
            rows.clear()
        if isinstance(message, delta_wire.Change):
            if rows is not None:
                rows.apply(message.table, message.arrays())
            followed.sequence = message.sequence - 1 if skipped else followed.sequence
        else:
            followed.sequence = message.sequence

    def _load(self, client: redis.Redis, followed: _Followed) -> None:
        """Take over the artefact that Redis holds, unless it is the one that is served."""
        name = followed.keys.model
        data = cast(bytes | None, client.get(followed.keys.artefact))
        if data is None:
            return
        try:
            self._swap(followed, Artefact.from_bytes(data))
        except Exception as error:  # whatever a graph does when it is opened and tried, the previous one must go on
            self.refused[name] = str(error)
            _logger.error("model %r: new artefact refused, the previous one goes on: %s", name, error)

    def _swap(self, followed: _Followed, artefact: Artefact) -> None:
        name = followed.keys.model
        served = self._models.get(name)
        if served is None or served.artefact != artefact:
            scorer = self._open_scorer(artefact.graph)
            if followed.rows is None or followed.rows.dim != artefact.dim:
                store = RedisRows(self._row_client, name, artefact.dim, self._availability)
                followed.rows = RowCache(store, self._cache_rows)
            same = served is not None and served.artefact.spec == artefact.spec
            encoder = served.encoder if served is not None and same else Encoder(artefact.spec)
            model = ServedModel(name, artefact, scorer, followed.rows, self._clock(), encoder)
            model.try_out()
            self._models[name] = model
        self.refused.pop(name, None)
