"""Open Bandit Dataset (Saito et al., NeurIPS Datasets 2021): items of a fashion shop, drawn by two policies at once.

Each row is one item at one of three positions, with the chance that the policy gave it. It is not part of this project:
https://research.zozo.com/data.html. Shape suffix: R rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv

from recsys.errors import InvalidValueError, file_errors

WHERE = "The Open Bandit Dataset can be had at https://research.zozo.com/data.html"
POLICIES = ("random", "bts")
CAMPAIGNS = ("men", "women")

_COLUMNS = {
    "item_id": pa.int64(),
    "position": pa.int64(),
    "click": pa.float64(),
    "propensity_score": pa.float64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class BanditLog:
    """What one policy showed in one campaign, in order of time. Positions and items count from 0."""

    items_R: npt.NDArray[np.int64]
    positions_R: npt.NDArray[np.int64]
    clicks_R: npt.NDArray[np.float64]
    propensities_R: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.items_R)


def bandit_log(folder: Path | str, policy: str, campaign: str) -> BanditLog:
    """Read `POLICY/CAMPAIGN/CAMPAIGN.csv`. Raises FileError, or InvalidValueError for other columns or values."""
    path = Path(folder) / policy / campaign / f"{campaign}.csv"
    options = pa_csv.ConvertOptions(include_columns=list(_COLUMNS), column_types=_COLUMNS)
    with file_errors(WHERE, path):
        data = path.read_bytes()
    try:
        table = pa_csv.read_csv(pa.BufferReader(data), convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InvalidValueError(f"{path} is not a log of the Open Bandit Dataset: {error}. {WHERE}") from None
    items_R, positions_R, clicks_R, propensities_R = (table[name].to_numpy(zero_copy_only=False) for name in _COLUMNS)
    if not len(items_R) or positions_R.min() < 1 or items_R.min() < 0:
        raise InvalidValueError(f"{path} has no rows, or positions below 1 or items below 0. {WHERE}")
    if not ((propensities_R > 0) & (propensities_R <= 1)).all():
        raise InvalidValueError(f"{path} has propensities that are not above 0 and at most 1. {WHERE}")
    return BanditLog(items_R, positions_R - 1, clicks_R, propensities_R)
