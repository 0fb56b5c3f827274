"""Small numbers for what the kernels do not see: ids of impressions, and objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Keys(dict[str, int]):
    """The key of each id; looking one up gives a new id a key."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        """By key; that of a key that is free is stale."""
        self.fresh: list[int] = []
        """Keys given out since the last `take_fresh`."""
        self._free: list[int] = []

    def __missing__(self, id_: str) -> int:
        if self._free:
            key = self._free.pop()
            self.ids[key] = id_
        else:
            key = len(self.ids)
            self.ids.append(id_)
        self[id_] = key
        self.fresh.append(key)
        return key

    def take_fresh(self) -> list[int]:
        fresh, self.fresh = self.fresh, []
        return fresh

    def free(self, keys: Iterable[int]) -> None:
        """These ids are forgotten."""
        for key in keys:
            del self[self.ids[key]]
            self._free.append(key)


class Shelf(Generic[T]):
    """Objects by number; the numbers of those taken away are given out again."""

    def __init__(self) -> None:
        self.objects: list[T] = []
        """By number; that of a number that is free is not there, or `None`."""
        self._free: list[int] = []

    def add(self, objects: list[T]) -> list[int]:
        """Their numbers, in order."""
        kept = max(0, len(self._free) - len(objects))
        numbers = self._free[kept:]
        del self._free[kept:]
        for number, one in zip(numbers, objects, strict=False):
            self.objects[number] = one
        rest = objects[len(numbers) :]
        numbers += range(len(self.objects), len(self.objects) + len(rest))
        self.objects += rest
        return numbers

    def remove(self, numbers: list[int]) -> None:
        for number in numbers:
            self.objects[number] = cast("T", None)
        self._free += numbers
