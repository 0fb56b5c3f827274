"""Found dimensions as settings of `recsys.toml`."""

from __future__ import annotations

from collections.abc import Mapping

SMALLEST = 4
"""The least `features.dim`; the widest table must have as many coordinates."""


def settings(dims: Mapping[str, int]) -> str:
    """The tables to put into `recsys.toml`, for `recsys fit` and `recsys train`.

    >>> print(settings({"user": 2, "item": 6}))
    [features]
    dim = 6
    <BLANKLINE>
    [features.tables.user]
    dim = 2
    <BLANKLINE>
    """
    dim = max(*dims.values(), SMALLEST)
    widest = max(dims, key=lambda table: dims[table])
    tables = {f"features.tables.{table}": own for table, own in dims.items() if table != widest and own < dim}
    return "\n".join(f"[{name}]\ndim = {own}\n" for name, own in ({"features": dim} | tables).items())
