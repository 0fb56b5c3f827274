"""What the last items of a user are worth on the end of MovieLens 1M by time, pooled in three ways.

The log is the last 20 % of ratings, whose times are exact. A rating of 4 or 5 is positive. Of it the first 80 % are
learned from, the next 10 % choose the epoch, and the last 10 % are judged. The model is a DeepFM over ids and features
of user and movie; beside them it has one field, the last 20 movies that the user rated, whatever the rating.
"""

from __future__ import annotations

from recsys.fit.studies.fit_study import LEARNING, FitTable, Studied

FIELDS = """
[log]
url = "file:log"
[features]
dim = 16
[[features.fields]]
name = "user"
source = "user"
[[features.fields]]
name = "movie"
source = "item"
[[features.fields]]
name = "gender"
source = "request.gender"
[[features.fields]]
name = "age"
source = "request.age"
[[features.fields]]
name = "occupation"
source = "request.occupation"
[[features.fields]]
name = "year"
source = "item.year"
[[features.fields]]
name = "genres"
kind = "multi"
source = "item.genres"
"""
"""The log, and the fields of user and movie."""
LEARNED = f"""[training]
positive = ["rate"]
min_value = 4.0
{LEARNING}
seed = {{seed}}
checkpoints = "{{name}}-{{seed}}"
[fit]
split = "time"
epochs = {{epochs}}
patience = 2
"""
_MODEL = """[model]
name = "fm"
mlp = [64, 32]
"""
_FIELD = """[[features.fields]]
name = "rated"
kind = "multi"
source = "user.recent(rate, 20)"
table = "movie"
pooling = "{}"
"""

HISTORIES = FitTable(
    name="histories",
    title="Histories, the last 20 % of MovieLens 1M by time",
    settings=FIELDS + "{own}" + _MODEL + LEARNED,
    epochs=50,
    models={"no history": Studied("")}
    | {pooling: Studied(_FIELD.format(pooling)) for pooling in ("mean", "attention", "self-attention")},
)
