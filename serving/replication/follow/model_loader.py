"""Keeps one model current: applies its row changes, and swaps its scorer when the artefact is replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import redis

from embedding.store import TableDelta
from recsys.errors import ArtefactError
from serving.cache.counted_features import CountedFeatures
from serving.cache.fallback_rows import FallbackRowCache
from serving.cache.row_cache import RowCache
from serving.cache.row_store import RedisRows
from serving.cache.warmup import warm_up
from serving.model.artefact import RANKER, USER_TOWER, Artefact
from serving.model.checked_scorer import CheckedScorer
from serving.model.loaded_model import LoadedModel, OpenScorer
from serving.model.measured_precision import MeasuredPrecision
from serving.model.user_tower import TwoTowerModel, UserTower
from serving.replication import delta_messages
from serving.replication.connection.redis_client import RedisClient
from serving.replication.follow.vector_replica import VectorReplica
from serving.replication.health import Availability
from serving.replication.keys import ModelKeys
from serving.replication.shared_reads import served
from streaming.encode.encoder import Encoder

_logger = logging.getLogger(__name__)


class ModelLoader:
    """The sink of a model's delta stream.

    `client` reads rows for requests. If an artefact is damaged, refused by the scorer or fails the smoke test,
    `refused` says why, and the previous version stays in use.
    """

    def __init__(
        self,
        name: str,
        client: RedisClient,
        open_scorer: OpenScorer,
        cache_rows: int,
        availability: Availability,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.current: LoadedModel | None = None
        self.refused = ""
        """Why the newest artefact is not served; empty when it is."""
        self._keys = client.names.model(name)
        """Keys of the run that is served."""
        self._client = client
        self._open_scorer = open_scorer
        self._cache_rows = cache_rows
        self._availability = availability
        self._clock = clock
        self._sequence: int | None = None
        self._rows: RowCache | None = None
        self._fallback: FallbackRowCache | None = None
        self._vectors: VectorReplica | None = None
        self._engine = ""
        self._told: tuple[str, bool, bool] | None = None
        """What the log says of the precision."""

    @property
    def stream(self) -> str:
        return self._keys.deltas

    def catch_up(self, client: RedisClient, *, continued: bool) -> None:
        if not continued:
            self._forget()
        self._load_fallback(client)  # always, because Redis may have failed before it was loaded
        if self._vectors is not None and not continued:
            self._vectors.load(client)
        self._load(client)

    def take(self, client: RedisClient, message: bytes) -> None:
        try:
            decoded = delta_messages.decode(message)
            if isinstance(decoded, delta_messages.NewArtefact) or decoded.run != self._keys.run:
                self._load(client)  # ignore rows of another run, unless servers follow that run now
            elif isinstance(decoded, delta_messages.VectorChange | delta_messages.VectorReset):
                self._take_vectors(client, decoded)
            else:
                self._take_rows(client, decoded)
        except ValueError as error:
            _logger.error("model %r: row changes cannot be read, emptying the cache: %s", self.name, error)
            self._empty(client)

    def _take_vectors(self, client: RedisClient, message: delta_messages.VectorMessage) -> None:
        if self._vectors is None:
            return
        if isinstance(message, delta_messages.VectorReset):
            self._vectors.load(client)
        else:
            self._vectors.apply(message)

    def maintain(self) -> None:
        """Let the index of item vectors and the precision of the scorer look after themselves."""
        if self._vectors is not None:
            self._vectors.index.maintain()
        if self.current is not None and isinstance(self.current.scorer, CheckedScorer):
            self.current.scorer.check()
            self._tell(self.current.scorer.precision)

    def _tell(self, now: MeasuredPrecision) -> None:
        """Say in the log what the model scores in, if that has changed."""
        told, self._told = self._told, (now.used, now.error is None, now.pending)
        if told == self._told:
            return
        if now.used != "float32":
            _logger.info("model %r scores in %s: log odds differ by up to %.2g", self.name, now.used, now.error)
        elif now.pending:
            _logger.info("model %r scores in float32 until the first requests show its error in less", self.name)
        else:
            _logger.warning("model %r scores in float32, not in less: %s", self.name, now.reason)

    def _tell_engine(self, model: LoadedModel) -> None:
        """Say in the log what computes the scores, if that has changed."""
        if model.engine != self._engine:
            _logger.info("model %r is scored by %s", self.name, model.engine)
            self._engine = model.engine

    def _take_rows(self, client: RedisClient, message: delta_messages.RowMessage) -> None:
        if isinstance(message, delta_messages.Reset):
            self._empty(client)
        else:
            if self._sequence is not None and message.sequence <= self._sequence:
                return  # it comes again, or too late: what it says was applied, or is older than what is cached
            if self._sequence is not None and message.previous > self._sequence:
                self._empty(client)  # messages were missed
                self._sequence = message.previous
            if isinstance(message, delta_messages.Change):
                self._apply(message.table, message.arrays())
                return
        self._sequence = message.sequence

    def _apply(self, table: str, change: TableDelta) -> None:
        if self._rows is not None:
            self._rows.apply(table, change)
        if self._fallback is not None:
            self._fallback.apply(table, change)

    def _empty(self, client: RedisClient) -> None:
        self._forget()
        self._load_fallback(client)

    def _forget(self) -> None:
        """Empty the cache, because it may lack changes, and accept any next sequence."""
        self._sequence = None
        if self._rows is not None:
            self._rows.clear()

    def _load_fallback(self, client: RedisClient) -> None:
        if self._fallback is not None:
            self._fallback.load(client)

    def _load(self, client: RedisClient) -> None:
        """Load the artefact of the served run, unless it is the current one. Another run replaces rows and graph."""
        run = served(client, self.name)
        keys = client.names.model(self.name, run or "")
        data = None if run is None else cast(bytes | None, client.get(keys.artefact))
        if data is None:
            return
        try:
            artefact = Artefact.from_bytes(data)
            if self.current is None or keys.run != self._keys.run or self.current.artefact != artefact:
                self._swap(client, keys, artefact)
            self.refused = ""
        except redis.RedisError:
            raise
        except Exception as error:  # whatever a new graph does, the previous one stays in use
            self.refused = str(error)
            _logger.error("model %r: new artefact refused, the previous one stays in use: %s", self.name, error)

    def _swap(self, client: RedisClient, keys: ModelKeys, artefact: Artefact) -> None:
        """Serve the artefact. The cache is kept if the artefact reads the same rows."""
        rows, fallback = self._rows, self._fallback
        if rows is None or fallback is None or rows.dims != artefact.dims or keys.run != self._keys.run:
            fallback = FallbackRowCache(keys, artefact.dims)
            fallback.load(client)
            store = RedisRows(self._client, self.name, artefact.dims, self._availability, keys.run)
            rows = RowCache(store, self._cache_rows, fallback)
        tower = UserTower(artefact) if USER_TOWER in artefact.graphs else None
        vectors = None if tower is None else self._vectors_for(client, keys, tower.size)
        two_tower = None if tower is None or vectors is None else TwoTowerModel(tower, vectors.index)
        self.current = self._open(artefact, rows, two_tower)
        self._tell_engine(self.current)
        self._rows, self._fallback, self._vectors = rows, fallback, vectors
        if keys.run != self._keys.run:
            self._keys, self._sequence = keys, None

    def _vectors_for(self, client: RedisClient, keys: ModelKeys, size: int) -> VectorReplica:
        """The item vectors of a run: those that are here if they are of the same one."""
        same = self._vectors is not None and keys.run == self._keys.run and self._vectors.index.size == size
        if same and self._vectors is not None:
            return self._vectors
        vectors = VectorReplica(keys, size)
        vectors.load(client)
        return vectors

    def _open(self, artefact: Artefact, rows: RowCache, two_tower: TwoTowerModel | None) -> LoadedModel:
        known = self.current
        same = known is not None and known.artefact.spec == artefact.spec
        encoder = known.encoder if known is not None and same else Encoder(artefact.spec)
        if RANKER not in artefact.graphs:
            raise ArtefactError(f"the artefact has no graph {RANKER!r}, only {sorted(artefact.graphs)}")
        scorer = self._open_scorer(artefact.graphs[RANKER])
        counted = CountedFeatures(self._client, artefact.spec.streamed, self._clock, self._availability)
        model = LoadedModel(self.name, artefact, scorer, rows, self._clock(), encoder, two_tower, counted)
        warm_up()
        model.smoke_test()
        if isinstance(scorer, CheckedScorer):
            scorer.follow(known.scorer if known is not None and same and known.artefact.dims == artefact.dims else None)
        return model
