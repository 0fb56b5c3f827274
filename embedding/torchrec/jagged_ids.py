"""Ids and row numbers as the values of a jagged tensor."""

from __future__ import annotations

import numpy as np
import torch
from torchrec.sparse.jagged_tensor import JaggedTensor

from embedding.store import Ids, RowNumbers
from recsys.errors import InvalidValueError


def as_ids(values: torch.Tensor) -> Ids:
    """Values of a feature as unsigned ids. Raises InvalidValueError for values that are not integers."""
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise InvalidValueError(
            f"ids are {values.dtype}, expected integers, such as torch.int64 with the bits of 64-bit hashes"
        )
    ids: Ids = values.to("cpu", torch.int64).contiguous().numpy().view(np.uint64)
    return ids


def with_values(jagged: JaggedTensor, values: Ids | RowNumbers) -> JaggedTensor:
    """The jagged tensor with other values: as many, on its device, with its lengths and weights."""
    tensor = torch.from_numpy(values.view(np.int64)).to(jagged.values().device)
    return JaggedTensor(tensor, lengths=jagged.lengths(), weights=jagged.weights_or_none())
