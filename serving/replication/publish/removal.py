"""Takes a model out of Redis: the rows that are kept for a rollback are as large as the champion's."""

from __future__ import annotations

from functools import partial
from typing import cast

from redis.client import Pipeline

from recsys.errors import PromotionError
from serving.replication.keys import ModelKeys
from serving.replication.promotions import champion_of, decoded
from serving.replication.publish.redis_writer import RedisWriter
from serving.replication.shared_reads import served


def remove_model(writer: RedisWriter, model: str) -> int:
    """Remove all that Redis holds of a model; returns the number of its rows. It can be repeated.

    Raises PromotionError if it is the champion or Redis has nothing of it, LeaseError if it has a trainer, and
    PublishError.
    """
    client = writer.client
    run = writer.do(lambda: served(client, model))
    runs = {
        one.decode() for one in writer.do(lambda: cast(set[bytes], client.smembers(client.names.model(model).runs)))
    }
    if run is None and not runs:
        raise PromotionError(f"Redis has nothing of a model {model!r}")
    every = [client.names.model(model, one) for one in sorted(runs | ({run} if run is not None else set()))]
    writer.do(lambda: client.transaction(partial(_stop_serving, model, every), client.names.promotions))
    rows = 0
    for keys in every:
        for page in writer.pages(keys.all_rows):
            writer.unlink([key.decode() for key in page])
            rows += len(page)
        writer.unlink([*keys.sequences, keys.fallback, keys.vectors, keys.figures])
    writer.unlink([every[0].runs, every[0].status, every[0].deltas, every[0].takeovers])
    return rows


def _stop_serving(model: str, every: list[ModelKeys], pipe: Pipeline) -> None:
    """So that it cannot be promoted any more; `pipe` is watching the record of promotions."""
    if champion_of(decoded(cast(list[bytes], pipe.lrange(every[0].names.promotions, 0, -1)))) == model:
        raise PromotionError(f"model {model!r} is the champion: promote another one, or roll back, first")
    pipe.multi()
    pipe.delete(every[0].served, *(keys.artefact for keys in every))
    pipe.srem(every[0].names.models, model)
