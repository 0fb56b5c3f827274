"""The ML-1M table of AutoInt's paper (Song et al., CIKM 2019, tables 2, 4 and 5).

Its protocol: parts of 80, 10 and 10 % at random, batches of 1,024, Adam with a rate of .001 for all weights, at most 50
epochs, of which the one with the least log loss on the validation part is judged on the test part. Published figures
are means of ten runs.
"""

from __future__ import annotations

from recsys.datasets.ml1m_autoint import FIELDS
from recsys.fit.studies.fit_study import LEARNING, FitTable, Studied

_SETTINGS = f"""
[log]
url = "file:log"
[features]
dim = 16
{FIELDS}
[model]
{{own}}
[training]
positive = ["like"]
{LEARNING}
averaging = 0.0
seed = {{seed}}
checkpoints = "{{name}}-{{seed}}"
[fit]
split = "random"
epochs = {{epochs}}
patience = 4
"""
_AUTOINT = 'name = "autoint"\nlayers = 3\nheads = 2\nunits = 64\ndropout = 0.4\nembedding_dropout = 0.1\n'
_PERCEPTRON = "mlp = [400, 400]\nmlp_dropout = 0.5\n"

AUTOINT = FitTable(
    name="autoint",
    title="MovieLens 1M as in AutoInt's paper",
    settings=_SETTINGS,
    epochs=50,
    models={
        "LR": Studied('name = "lr"', 0.7716, 0.4424),
        "FM": Studied('name = "fm"\nmlp = []', 0.8252, 0.3998),
        "DeepFM": Studied(f'name = "fm"\n{_PERCEPTRON}', 0.8437, 0.3846),
        "AutoInt": Studied(f"{_AUTOINT}mlp = []", 0.8456, 0.3797),
        "AutoInt without residual": Studied(f"{_AUTOINT}mlp = []\nresidual = false", 0.8299, 0.3959),
        "AutoInt+": Studied(f"{_AUTOINT}{_PERCEPTRON}", 0.8488, 0.3753),
    },
)
"""The perceptron is that of the paper's code, with its default dropout."""
