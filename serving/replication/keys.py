"""Keys of everything in Redis, defined here only, for a project named `recsys`.

| key | type | holds |
|---|---|---|
| `recsys:{model}:{run}:row:{table}:{id:016x}` | string | one embedding row, see `serving.replication.row_codec` |
| `recsys:{model}:{run}:artefact` | string | the exported graph, see `serving.model.artefact` |
| `recsys:{model}:{run}:fallback` | string | by table, which rows ids without one read, `embedding.store.Fallback` |
| `recsys:{model}:{run}:vectors` | hash | vectors by item, half floats: `serving.replication.publish.vector_publisher` |
| `recsys:{model}:{run}:figures` | string | how well it did, when rows changed: `serving.replication.trainer_status` |
| `recsys:{model}:{run}:sequence` | string | the last delta written whole and its epoch; no run without it is whole |
| `recsys:{model}:deltas` | stream, capped | changed rows and artefacts, see `serving.replication.delta_messages` |
| `recsys:{model}:served` | string | the run that servers follow |
| `recsys:{model}:takeovers` | list, capped | which run took the place of which, JSON: `serving.replication.takeovers` |
| `recsys:{model}:runs` | set | the runs that have keys |
| `recsys:{model}:status` | string | progress and counters of the trainer, JSON: `serving.replication.trainer_status` |
| `recsys:{model}:lease` | string, expiring | who publishes it, JSON: `serving.replication.publish.lease.Holder` |
| `recsys:user:{id}`, `recsys:item:{id}` | string | latest features, a JSON object |
| `recsys:counted:{layout}:{kind}:{name}` | string, expiring | counters of a user, item or pair: `streaming.windows` |
| `recsys:counted:{layout}:history:{user}` | string, expiring | items that the user did something with last |
| `recsys:visited:user:{id}` | string, expiring | items that the user clicked last, JSON: `streaming.co_visits` |
| `recsys:visited:item:{id}` | string, expiring | items clicked together with it, and affinities, JSON |
| `recsys:set:{name}` | string | items that belong to a set, JSON: `streaming.item_sets` |
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

A frozen model has no run: its keys lack that part. Another project has its name in the place of `recsys`.

In a cluster, keys that are read or written together are in one slot, by the hash tag `{recsys}`. What grows with users,
items and rows is spread: it has one of `SLOTS` tags behind the name, `recsys{TAG}:user:u1`. Each of those slots has a
`sequence` of its own, so that a node that has lost writes is noticed (docs/adr/0014).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError

PROJECT = "recsys"
CHAMPION = "champion"
"""Stands for the promoted model, wherever the name of a model is read."""
ONLINE = "online"
"""The model that a trainer publishes by default, and the champion until another one is promoted."""
_PARTS = (
    "user item set entities popular recent counted visited experiment experiments shown opened judged promotions models"
)
_RESERVED = frozenset({*_PARTS.split(), CHAMPION, "popularity"})
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_RUN = re.compile(r"[0-9a-f]+")


class KeyNames:
    """Keys of one project. `tags` are the hash tags over which a cluster spreads what is large.

    >>> KeyNames().user("u1"), KeyNames("shop").promotions
    ('recsys:user:u1', 'shop:promotions')
    >>> KeyNames(tags=["7"]).user("u1"), KeyNames(tags=["7"]).promotions
    ('recsys{7}:user:u1', '{recsys}:promotions')
    """

    def __init__(self, project: str = PROJECT, tags: Sequence[str] = ()) -> None:
        self.project = project
        self.together = f"{{{project}}}:" if tags else f"{project}:"
        """What keys begin with that are in one slot."""
        self.spread = [f"{project}{{{tag}}}:" for tag in tags] or [self.together]
        """What the others begin with."""
        self.entities = self.together + "entities"
        self.popular = self.together + "popular"
        self.recent = self.together + "recent"
        self.experiments = self.together + "experiments"
        self.opened = self.together + "opened:"
        self.judged = self.together + "judged"
        self.promotions = self.together + "promotions"
        self.models = self.together + "models"

    def model(self, model: str, run: str = "") -> ModelKeys:
        """Keys of one run of a model. Raises as `ModelKeys` does."""
        return ModelKeys(model, run, self)

    def user(self, name: str) -> str:
        return self._spread(f"user:{name}")

    def item(self, name: str) -> str:
        return self._spread(f"item:{name}")

    def counted(self, layout: str, kind: str, name: str) -> str:
        """
        >>> KeyNames().counted("3f9a", "item", "i1")
        'recsys:counted:3f9a:item:i1'
        """
        return self._spread(f"counted:{layout}:{kind}:{name}")

    def visited(self, kind: str, name: str) -> str:
        return self._spread(f"visited:{kind}:{name}")

    def visited_user(self, name: str) -> str:
        return self.visited("user", name)

    def visited_item(self, name: str) -> str:
        return self.visited("item", name)

    def item_set(self, name: str) -> str:
        return self._spread(f"set:{name}")

    def experiment(self, name: str, allocation: str) -> str:
        return f"{self.together}experiment:{name}:{allocation}"

    def experiment_units(self, name: str, allocation: str, arm: str) -> str:
        return f"{self.experiment(name, allocation)}:{arm}"

    def shown(self, impression: str) -> str:
        return f"{self.together}shown:{impression}"

    def every(self, tail: str) -> str:
        """The pattern of all spread keys with a tail such as `user:*`.

        >>> KeyNames().every("user:*"), KeyNames(tags=["7"]).every("user:*")
        ('recsys:user:*', 'recsys{*}:user:*')
        """
        return (f"{self.project}{{*}}:" if self.together.startswith("{") else self.together) + tail

    def _spread(self, tail: str) -> str:
        if len(self.spread) == 1:
            return self.spread[0] + tail
        return self.spread[zlib.crc32(tail.encode()) % len(self.spread)] + tail


def tail(key: bytes) -> str:
    """What is behind the project's name and tag.

    >>> tail(b"recsys:user:u1"), tail(b"recsys{7}:user:u1")
    ('user:u1', 'user:u1')
    """
    return key.decode().partition(":")[2]


def run_of(key: bytes) -> tuple[str, str] | None:
    """The model and run that a key such as an artefact is of; None for one of no model, whatever its user is called.

    >>> run_of(b"recsys:online:3f9a:artefact"), run_of(b"recsys:frozen:artefact"), run_of(b"recsys:user:artefact")
    (('online', '3f9a'), ('frozen', ''), None)
    """
    model, *run = tail(key).split(":")[:-1]
    known = model not in _RESERVED and _NAME.fullmatch(model) and len(run) <= 1 and all(map(_RUN.fullmatch, run))
    return (model, "".join(run)) if known else None


_DEFAULT = KeyNames()


class ModelKeys:
    """Keys of one run of a published model.

    Raises InvalidValueError when the name could be confused with another part of a key.

    >>> ModelKeys("online").artefact
    'recsys:online:artefact'
    >>> ModelKeys("online", "3f9a").artefact
    'recsys:online:3f9a:artefact'
    """

    def __init__(self, model: str, run: str = "", names: KeyNames = _DEFAULT) -> None:
        if model in _RESERVED or not _NAME.fullmatch(model):
            raise InvalidValueError(
                f"model name {model!r} cannot be used: use letters, digits, '_', '-' and '.', "
                f"but none of {sorted(_RESERVED)}"
            )
        if run and not _RUN.fullmatch(run):
            raise InvalidValueError(f"run {run!r} of model {model!r} is not hexadecimal: use `secrets.token_hex`")
        self.model = model
        self.run = run
        self.names = names
        of_model = f"{names.together}{model}:"
        self.deltas = of_model + "deltas"
        self.status = of_model + "status"
        self.lease = of_model + "lease"
        self.served = of_model + "served"
        self.runs = of_model + "runs"
        self.takeovers = of_model + "takeovers"
        of_run = f"{model}:{run}:" if run else f"{model}:"
        self.artefact = names.together + of_run + "artefact"
        self.fallback = names.together + of_run + "fallback"
        self.vectors = names.together + of_run + "vectors"
        self.figures = names.together + of_run + "figures"
        self.sequences = [place + of_run + "sequence" for place in names.spread]
        """One for each place over which rows are spread: all are there, and the same, if the run is whole."""
        self._rows = of_run + "row:"
        self._places = [place + self._rows for place in names.spread]
        self.all_rows = names.every(self._rows + "*")
        """Pattern of the rows of all tables."""

    def rows(self, table: str, ids_N: npt.NDArray[np.uint64]) -> list[str]:
        """Keys of many rows at once: one hexadecimal pass over all ids instead of a format per id.

        >>> ModelKeys("online").rows("item", np.array([10, 2**64 - 1], np.uint64))
        ['recsys:online:row:item:000000000000000a', 'recsys:online:row:item:ffffffffffffffff']
        """
        prefixes = [f"{place}{table}:" for place in self._places]
        digits = ids_N.astype(">u8").tobytes().hex()
        if len(prefixes) == 1:
            (prefix,) = prefixes
            return [prefix + digits[i : i + 16] for i in range(0, len(digits), 16)]
        places = (ids_N % np.uint64(len(prefixes))).tolist()
        return [prefixes[place] + digits[16 * n : 16 * n + 16] for n, place in enumerate(places)]

    def parse_rows(self, keys: Sequence[bytes]) -> dict[str, npt.NDArray[np.uint64]]:
        """The reverse of `rows`: ids by table.

        >>> ModelKeys("m").parse_rows([b"recsys:m:row:item:000000000000000a"])["item"]
        array([10], dtype=uint64)
        """
        found: dict[str, list[int]] = {}
        for key in keys:
            table, _, digits = tail(key)[len(self._rows) :].rpartition(":")
            found.setdefault(table, []).append(int(digits, 16))
        return {table: np.array(ids, np.uint64) for table, ids in found.items()}

    def as_of(self, source: ModelKeys, key: bytes) -> str:
        """The key of this run for the row that `key` has of the run `source`.

        >>> ModelKeys("frozen").as_of(ModelKeys("m", "3f"), b"recsys{7}:m:3f:row:item:000000000000000a")
        'recsys{7}:frozen:row:item:000000000000000a'
        """
        place, _, rest = key.decode().partition(":")
        return f"{place}:{self._rows}{rest[len(source._rows) :]}"
