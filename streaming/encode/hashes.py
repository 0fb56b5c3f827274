"""Ids of texts: xxh3_64 of the text as UTF-8, seeded by the hash of the table's name."""

from __future__ import annotations

import xxhash


class Hashes(dict[str, int]):
    """Ids of one table by text; forgets all when full."""

    def __init__(self, table: str, capacity: int) -> None:
        self._seed = xxhash.xxh3_64_intdigest(table.encode())
        self._capacity = capacity

    def __missing__(self, text: str) -> int:
        if len(self) >= self._capacity:
            self.clear()
        self[text] = id_ = xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"), seed=self._seed)
        return id_
