"""Unified Embedding on MovieLens 1M (Coleman et al., NeurIPS 2023): one table of rows for all ids, beside hashing.

Six fields with 13,215 ids, a DCN over rows of 30 numbers. Ratings above 3 are positive, below 3 negative, those of 3
are left out; parts of 80, 10 and 10 % at random. At each size tables have as many bytes:

| method | an id reads |
|---|---|
| collisionless | a row of its own |
| multiplexed | one of the rows that all ids of all fields share |
| hashed | one of the rows that the ids of its field share, as many for a field as its share of all ids |

Published AUC is the paper's, as a replication quotes it; which settings of the network it had is not known.
"""

from __future__ import annotations

from collections.abc import Sequence

from recsys.fit.studies.fit_study import LEARNING, FitTable, Studied

DIM = 30
IDS = {"user": 6040, "movie": 3706, "zip": 3439, "occupation": 21, "age": 7, "gender": 2}
"""By field, in the ratings."""
SIZES = {"1.6 MB": 13_215, "791 kB": 6_592, "158 kB": 1_317}
"""Rows of 120 bytes."""
_PUBLISHED = {"1.6 MB": (0.8774, 0.8537), "791 kB": (0.8693, 0.8300), "158 kB": (0.8200, 0.7707)}
"""AUC, multiplexed and hashed."""

_FIELDS = "".join(
    f'[[features.fields]]\nname = "{name}"\nsource = "{source}"\n'
    for name, source in (
        ("user", "user"),
        ("movie", "item"),
        *((name, f"request.{name}") for name in ("zip", "occupation", "age", "gender")),
    )
)
_SETTINGS = f"""
[log]
url = "file:log"
[features]
dim = {DIM}
{_FIELDS}{{own}}[model]
name = "dcn"
layers = 2
mlp = [192, 192]
[training]
positive = ["like"]
{LEARNING}
averaging = 0.0
seed = {{seed}}
checkpoints = "{{name}}-{{seed}}"
[fit]
split = "random"
epochs = {{epochs}}
patience = 2
"""


def _shared(table: str, rows: int) -> str:
    return f'[features.{table}]\nadmission = "never"\nfallback = "multiplexed"\nshared_rows = {rows}\n'


def of_fields(rows: int) -> Sequence[tuple[str, int]]:
    """The rows of each field: its share, and all numbers different, so that no two fields share their rows."""
    found: list[tuple[str, int]] = []
    for field, ids in reversed(IDS.items()):
        share = max(1, round(ids * rows / sum(IDS.values())))
        found.append((field, max([share, *(own + 1 for _, own in found)])))
    return found


def _models() -> dict[str, Studied]:
    models = {"collisionless, 1.6 MB": Studied("", 0.8872)}
    for size, rows in SIZES.items():
        multiplexed, hashed = _PUBLISHED[size]
        models[f"multiplexed, {size}"] = Studied(_shared("defaults", rows), multiplexed)
        own = "".join(_shared(f"tables.{field}", count) for field, count in of_fields(rows))
        models[f"hashed, {size}"] = Studied(own, hashed)
    return models


UNIFIED = FitTable(
    name="unified", title="Unified Embedding, MovieLens 1M", settings=_SETTINGS, epochs=20, models=_models()
)
