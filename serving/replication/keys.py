"""Keys of everything in Redis, defined here only.

| key | type | holds |
|---|---|---|
| `recsys:{model}:{run}:row:{table}:{id:016x}` | string | one embedding row, see `serving.replication.row_codec` |
| `recsys:{model}:{run}:artefact` | string | the exported graph, see `serving.model.artefact` |
| `recsys:{model}:{run}:fallback` | string | by table, which rows ids without one read, `embedding.store.Fallback` |
| `recsys:{model}:{run}:vectors` | hash | vectors by item, half floats: `serving.replication.publish.vector_publisher` |
| `recsys:{model}:{run}:sequence` | string | the last delta written whole and its epoch; no run without it is whole |
| `recsys:{model}:deltas` | stream, capped | changed rows and artefacts, see `serving.replication.delta_messages` |
| `recsys:{model}:served` | string | the run that servers follow |
| `recsys:{model}:runs` | set | the runs that have keys |
| `recsys:{model}:status` | string | progress and counters of the trainer, JSON: `serving.replication.trainer_status` |
| `recsys:{model}:lease` | string, expiring | who publishes it, JSON: `serving.replication.publish.lease.Holder` |
| `recsys:user:{id}`, `recsys:item:{id}` | string | latest features, a JSON object |
| `recsys:counted:{layout}:{kind}:{name}` | string, expiring | counters of a user, item or pair: `streaming.windows` |
| `recsys:counted:{layout}:history:{user}` | string, expiring | items that the user did something with last |
| `recsys:visited:user:{id}` | string, expiring | items that the user clicked last, JSON: `streaming.co_visits` |
| `recsys:visited:item:{id}` | string, expiring | items clicked together with it, and affinities, JSON |
| `recsys:entities` | stream, capped | names of users and items whose features changed, JSON |
| `recsys:popular` | sorted set | items by popularity, decayed to when it was published |
| `recsys:recent` | sorted set | items by the event time (ms) of their first sight |
| `recsys:experiment:{name}:{allocation}` | hash | `{arm}:{sum}`: `serving.experiments.inference.sums`; `since` (ms) |
| `recsys:experiment:{name}:{allocation}:{arm}` | string | impressions and clicks by bucket of users, 32 bits each |
| `recsys:experiments` | set | all keys of the two kinds above |
| `recsys:promotions` | list | every promotion and rollback, JSON; the last one says which model is the champion |
| `recsys:models` | set | names of the models that have been served |
| `recsys:judged` | string | what the log said of experiments, JSON: `serving.experiments.counts.judged_experiments` |
| `recsys:shown:{impression}` | string, expiring | arm, bucket and items, see `serving/experiments/counts/count.lua` |
| `recsys:opened:{slice}` | string, expiring | how many of those were made in a slice of time |

A frozen model has no run: its keys lack that part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError

ENTITIES = "recsys:entities"
POPULAR = "recsys:popular"
RECENT = "recsys:recent"
EXPERIMENTS = "recsys:experiments"
OPENED = "recsys:opened:"
JUDGED = "recsys:judged"
PROMOTIONS = "recsys:promotions"
MODELS = "recsys:models"
CHAMPION = "champion"
"""Stands for the promoted model, wherever the name of a model is read."""
ONLINE = "online"
"""The model that a trainer publishes by default, and the champion until another one is promoted."""
_RESERVED = frozenset(
    {
        "user",
        "item",
        "entities",
        "popular",
        "recent",
        "experiment",
        "experiments",
        "shown",
        "opened",
        "judged",
        "promotions",
        "models",
        CHAMPION,
        "popularity",
        "counted",
        "visited",
    }
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_RUN = re.compile(r"[0-9a-f]+")


def user(name: str) -> str:
    """
    >>> user("u1")
    'recsys:user:u1'
    """
    return f"recsys:user:{name}"


def item(name: str) -> str:
    return f"recsys:item:{name}"


def counted(layout: str, kind: str, name: str) -> str:
    """
    >>> counted("3f9a", "item", "i1")
    'recsys:counted:3f9a:item:i1'
    """
    return f"recsys:counted:{layout}:{kind}:{name}"


def visited(kind: str, name: str) -> str:
    """
    >>> visited("user", "u1")
    'recsys:visited:user:u1'
    """
    return f"recsys:visited:{kind}:{name}"


def visited_user(name: str) -> str:
    return visited("user", name)


def visited_item(name: str) -> str:
    return visited("item", name)


def experiment(name: str, allocation: str) -> str:
    return f"recsys:experiment:{name}:{allocation}"


def experiment_units(name: str, allocation: str, arm: str) -> str:
    return f"{experiment(name, allocation)}:{arm}"


def shown(impression: str) -> str:
    return f"recsys:shown:{impression}"


class ModelKeys:
    """Keys of one run of a published model.

    Raises InvalidValueError when the name could be confused with another part of a key.

    >>> ModelKeys("online").artefact
    'recsys:online:artefact'
    >>> ModelKeys("online", "3f9a").artefact
    'recsys:online:3f9a:artefact'
    """

    def __init__(self, model: str, run: str = "") -> None:
        if model in _RESERVED or not _NAME.fullmatch(model):
            raise InvalidValueError(
                f"model name {model!r} cannot be used: use letters, digits, '_', '-' and '.', "
                f"but none of {sorted(_RESERVED)}"
            )
        if run and not _RUN.fullmatch(run):
            raise InvalidValueError(f"run {run!r} of model {model!r} is not hexadecimal: use `secrets.token_hex`")
        self.model = model
        self.run = run
        of_model = f"recsys:{model}:"
        self.deltas = of_model + "deltas"
        self.status = of_model + "status"
        self.lease = of_model + "lease"
        self.served = of_model + "served"
        self.runs = of_model + "runs"
        of_run = f"{of_model}{run}:" if run else of_model
        self.artefact = of_run + "artefact"
        self.fallback = of_run + "fallback"
        self.vectors = of_run + "vectors"
        self.sequence = of_run + "sequence"
        self.row_prefix = of_run + "row:"

    def rows(self, table: str, ids_N: npt.NDArray[np.uint64]) -> list[str]:
        """Keys of many rows at once: one hexadecimal pass over all ids instead of a format per id.

        >>> ModelKeys("online").rows("item", np.array([10, 2**64 - 1], np.uint64))
        ['recsys:online:row:item:000000000000000a', 'recsys:online:row:item:ffffffffffffffff']
        """
        prefix = f"{self.row_prefix}{table}:"
        digits = ids_N.astype(">u8").tobytes().hex()
        return [prefix + digits[i : i + 16] for i in range(0, len(digits), 16)]

    def parse_rows(self, keys: Sequence[bytes]) -> dict[str, npt.NDArray[np.uint64]]:
        """The reverse of `rows`: ids by table.

        >>> ModelKeys("m").parse_rows([b"recsys:m:row:item:000000000000000a"])["item"]
        array([10], dtype=uint64)
        """
        found: dict[str, list[int]] = {}
        start = len(self.row_prefix)
        for key in keys:
            table, _, digits = key.decode()[start:].rpartition(":")
            found.setdefault(table, []).append(int(digits, 16))
        return {table: np.array(ids, np.uint64) for table, ids in found.items()}
