"""The Vendi score: how many different things a list holds, by the similarities of its items.

Friedman and Dieng (TMLR 2023), of any order by Pasarkar and Dieng (2023). Items are unit vectors, and the similarity of
two is their inner product.

Shape suffixes: N items of a list, C candidates, F coordinates, E elements that are not 0.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_MOST_AS_MATRIX = 16
"""Elements of a matrix for each that is not 0: with fewer, products of the whole matrix are faster."""


class SparseVectors:
    """Unit vectors [C, F] by their elements that are not 0, in order of rows: F may exceed C."""

    def __init__(self, rows_E: Integers, columns_E: Integers, values_E: Floats, shape: tuple[int, int]) -> None:
        self._rows_E, self._columns_E, self._values_E, self.shape = rows_E, columns_E, values_E, shape
        few = math.prod(shape) <= _MOST_AS_MATRIX * len(rows_E)
        self._matrix_CF = self.dense() if few else None
        self._starts = np.searchsorted(rows_E, np.arange(shape[0] + 1)).tolist()

    def dense(self) -> Floats:
        """All elements [C, F]."""
        vectors_CF = np.zeros(self.shape)
        vectors_CF[self._rows_E, self._columns_E] = self._values_E
        return vectors_CF

    def similarities(self, row: int) -> Floats:
        """Of each vector to that of `row` [C]."""
        if self._matrix_CF is not None:
            return np.asarray(self._matrix_CF @ self._matrix_CF[row])
        own = slice(self._starts[row], self._starts[row + 1])
        vector_F = np.zeros(self.shape[1])
        vector_F[self._columns_E[own]] = self._values_E[own]
        shared_E = self._values_E * vector_F.take(self._columns_E)
        return np.bincount(self._rows_E, shared_E, self.shape[0]).astype(np.float64, copy=False)


def vendi_score(vectors_NF: Floats, order: float = 1.0) -> float:
    """The effective number of different items, between 1 (all alike) and N (no two alike); 0 for an empty list.

    VS_q = (sum_i l_i^q)^(1 / (1 - q)) of the eigenvalues l of the similarities over N: the exponential of their entropy
    for `order` q = 1, one over the largest for infinity. Small orders weigh rare kinds, large ones the dominant kinds.
    Raises InvalidValueError for an order below 0.

    >>> round(vendi_score(np.eye(3)), 9), vendi_score(np.ones((3, 1)))
    (3.0, 1.0)
    """
    if not order >= 0:
        raise InvalidValueError(f"order is {order}: it must be 0 or more, such as 1 or 2")
    items, coordinates = vectors_NF.shape
    if not items:
        return 0.0
    # The smaller of the two products has the same eigenvalues but for zeros.
    product = vectors_NF.T @ vectors_NF if coordinates < items else vectors_NF @ vectors_NF.T
    return hill_number(np.linalg.eigvalsh(product / items), order)


def hill_number(shares: Floats, order: float = 1.0) -> float:
    """The effective number of kinds with these shares (Hill, 1973): the Vendi score of items that are not alike at all.

    (sum_i s_i^q)^(1 / (1 - q)), as in `vendi_score`, whose shares are eigenvalues.

    >>> hill_number(np.array([0.5, 0.5])), hill_number(np.array([0.5, 0.25, 0.25]), math.inf)
    (2.0, 2.0)
    """
    shares = shares[shares > 1e-12]
    if order == 1:
        return math.exp(-float(shares @ np.log(shares)))
    if math.isinf(order):
        return 1 / float(shares.max())
    return float((shares**order).sum() ** (1 / (1 - order)))


class Variety:
    """The Vendi score of order 2 of a growing list of n items: n^2 over the sum of squared similarities."""

    def __init__(self, vectors_CF: SparseVectors) -> None:
        self._vectors_CF = vectors_CF
        self._with_list_C = np.zeros(vectors_CF.shape[0])
        """Squared similarities to the items of the list, summed."""
        self._items, self._sum = 0, 0.0

    @property
    def score(self) -> float:
        return self._items**2 / self._sum if self._items else 0.0

    def gains(self) -> Floats:
        """By how much each candidate would raise the logarithm of the score [C]; 0 for the first item, which all are.

        >>> kinds = SparseVectors(np.arange(3), np.array([0, 0, 1]), np.ones(3), (3, 2))
        >>> variety = Variety(kinds)
        >>> variety.add(0)
        >>> np.exp(variety.gains())
        array([1., 1., 2.])
        """
        if not self._items:
            return np.zeros(len(self._with_list_C))
        sums_C = 2 * self._with_list_C + (self._sum + 1)
        return np.asarray(2 * math.log((self._items + 1) / self._items) + math.log(self._sum) - np.log(sums_C))

    def add(self, candidate: int) -> None:
        """Put a candidate on the list."""
        self._sum += 2 * float(self._with_list_C[candidate]) + 1
        self._with_list_C += self._vectors_CF.similarities(candidate) ** 2
        self._items += 1
