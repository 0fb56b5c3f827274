"""What gates for each row are worth to a DeepFM, on the end of MovieLens 1M by time: the log of `histories_table`.

The gates' network makes the model larger, so beside it is a DeepFM with as many parameters (23,387 and 23,409), which
has them in its perceptron.
"""

from __future__ import annotations

from recsys.fit.studies.fit_study import FitTable, Studied
from recsys.fit.studies.histories_table import FIELDS, LEARNED

_GATED = 'name = "gated"\nmlp = [64, 32]\ngates = [64]\n'

GATED = FitTable(
    name="gated",
    title="Gates for each row, the last 20 % of MovieLens 1M by time",
    settings=FIELDS + "[model]\n{own}" + LEARNED,
    epochs=50,
    models={
        "DeepFM": Studied('name = "fm"\nmlp = [64, 32]\n'),
        "DeepFM, as large": Studied('name = "fm"\nmlp = [169, 32]\n'),
        "gated": Studied(_GATED),
        "gated, penalties of iHAS": Studied(f"{_GATED}sparsity = 0.1\npolarization = 0.02\n"),
    },
)
