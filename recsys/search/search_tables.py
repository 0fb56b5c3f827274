"""What `recsys reproduce dnis` and `ihas` compare on MovieLens 1M: the models that are searched.

Ratings above 3 are positive, below 3 negative, those of 3 are left out; parts of 80, 10 and 10 % at random.
"""

from __future__ import annotations

from recsys.datasets.ml1m_autoint import FIELDS
from recsys.fit.studies.fit_study import FitTable, Studied

_SETTINGS = """
[log]
url = "file:log"
[features]
dim = {dim}
{fields}
[model]
{{own}}[training]
positive = ["like"]
labels = "held"
wait = "1s"
lateness = "0s"
batch_size = 4096
seed = {{seed}}
checkpoints = "{{name}}-{{seed}}"
[fit]
split = "random"
[{method}]
epochs = {{epochs}}
"""
_SIZES = """shares = [0.2, 0.05, 0.02, 0.01]
controls = ["magnitude", "uniform", "mde", "tables"]
"""
_IDS = '[[features.fields]]\nname = "user"\nsource = "user"\n[[features.fields]]\nname = "movie"\nsource = "item"\n'
_DEEPFM = 'name = "fm"\n'
_AUTOINT = 'name = "autoint"\nmlp = []\n'

DNIS = FitTable(
    name="dnis",
    title="DNIS and its controls, MovieLens 1M",
    settings=_SETTINGS.format(dim=64, fields=_IDS + FIELDS, method="dnis") + _SIZES,
    epochs=20,
    models={"DeepFM": Studied(_DEEPFM), "AutoInt": Studied(_AUTOINT)},
)
IHAS = FitTable(
    name="ihas",
    title="iHAS and its controls, MovieLens 1M",
    settings=_SETTINGS.format(dim=16, fields=_IDS + FIELDS, method="ihas"),
    epochs=20,
    models={"DeepFM": Studied(_DEEPFM)},
)
