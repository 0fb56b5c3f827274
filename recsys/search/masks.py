"""Which coordinates of which rows are kept. Shape suffixes as in `recsys.search.supernet`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.search.supernet import Space

_EXPONENT = 0.3
_HALVINGS = 60


def largest(values_VK: Tensor, share: float) -> Tensor:
    """A mask [V, K] of the `share` of all values with the largest magnitude: fine-grained pruning (DNIS, 3.3).

    >>> largest(torch.tensor([[3.0, -1.0], [0.5, -2.0]]), share=0.5).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    kept = max(1, round(share * values_VK.numel()))
    mask = torch.zeros(values_VK.numel())
    mask[torch.topk(values_VK.detach().abs().flatten(), kept).indices] = 1.0
    return mask.view(values_VK.shape)


def at_random(space: Space, share: float) -> Tensor:
    """A mask [V, K] of as many values, drawn at random."""
    generator = torch.Generator().manual_seed(space.config.training.seed)
    return largest(torch.rand(len(space.vocabulary), space.dim, generator=generator), share)


def by_table(space: Space, dims: Mapping[str, int]) -> Tensor:
    """A mask [V, K] of rows with `dims` coordinates, by table: the first ones."""
    vocabulary = space.vocabulary
    dims_V = torch.tensor([dims[table] for table in vocabulary.tables])[torch.from_numpy(vocabulary.tables_V)]
    return (torch.arange(space.dim) < dims_V.unsqueeze(1)).float()


def by_frequency(space: Space, share: float, blocks: int) -> Tensor:
    """A mask [V, K] of mixed dimensions by popularity (MDE: Ginart et al. 2019, arXiv 1909.11810, section 3.2).

    An id of frequency block l keeps the first d_l = lambda p_l^0.3 coordinates, rounded, at least 1 and at most K; p_l
    is how often the block's ids occur in the mean. lambda is what brings the size nearest to the `share` of all values
    from below, if 1 coordinate is not too many already. The exponent is the default of the published code.
    """
    blocks_V = space.vocabulary.blocks(blocks)
    ids_L = np.bincount(blocks_V, minlength=blocks)
    means_L = np.bincount(blocks_V, space.vocabulary.counts_V, blocks) / np.maximum(ids_L, 1)
    low, high = 0.0, float(space.dim)  # every id occurs, so that this gives all of them K coordinates
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fits = ids_L @ _powers(middle, means_L, space.dim) <= share * len(space.vocabulary) * space.dim
        low, high = (middle, high) if fits else (low, middle)
    dims_V = torch.from_numpy(_powers(low, means_L, space.dim)[blocks_V])
    return (torch.arange(space.dim) < dims_V.unsqueeze(1)).float()


def _powers(scale: float, means_L: npt.NDArray[np.float64], dim: int) -> npt.NDArray[np.int64]:
    return np.clip(np.rint(scale * means_L**_EXPONENT), 1, dim).astype(np.int64)


def uniform_dims(space: Space, share: float) -> dict[str, int]:
    """The same dimension for every table, at least 1, that comes nearest to the `share` of all values."""
    return dict.fromkeys(space.vocabulary.tables, max(1, round(share * space.dim)))


def table_dims(space: Space, mask_VK: Tensor) -> dict[str, int]:
    """What a mask comes to for whole tables: the mean number of coordinates that a table's rows keep, at least 1."""
    vocabulary, kept_V = space.vocabulary, mask_VK.sum(1)
    of_table = (torch.from_numpy(vocabulary.tables_V == place) for place in range(len(vocabulary.tables)))
    means = (float(kept_V[rows_V].mean()) for rows_V in of_table)
    return {table: max(1, round(mean)) for table, mean in zip(vocabulary.tables, means, strict=True)}
