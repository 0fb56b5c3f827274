"""One call's work, split into parts that several threads take in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from embedding.store import Index
from embedding.value_checks import check_int

_NONE = np.zeros(0, np.int32)


class ThreadParts:
    """Runs the parts of a call on this thread and `threads - 1` others.

    >>> ThreadParts(2).run(lambda begin: np.arange(begin, begin + 2, dtype=np.int32), range(0, 6, 2)).tolist()
    [0, 1, 2, 3, 4, 5]
    """

    def __init__(self, threads: int) -> None:
        check_int("threads", threads, least=1)
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "id-table") if threads > 1 else None

    def run(self, part: Callable[[int], Index], begins: range) -> Index:
        """The results of `part(begin)`, concatenated in order. Free threads take the next part: some start late."""
        if self._pool is None or len(begins) < 2:
            return np.concatenate([_NONE, *map(part, begins)])
        waiting, done = deque(begins), dict.fromkeys(begins, _NONE)

        def work() -> None:
            with suppress(IndexError):  # no parts left
                while True:
                    begin = waiting.popleft()
                    done[begin] = part(begin)

        others = [self._pool.submit(work) for _ in range(self.threads - 1)]
        work()
        for other in others:
            other.result()
        return np.concatenate(list(done.values()))


def run_beside(works: Iterable[Callable[[], None]], threads: int = 2) -> None:
    """Run each work in one of other threads, while this one makes the next; raises the first error of any.

    For what waits for memory that was never written before: the system gives it to two threads faster than to one.

    >>> done = []
    >>> run_beside(lambda n=n: done.append(n) for n in range(3))
    >>> sorted(done)
    [0, 1, 2]
    """
    with ThreadPoolExecutor(threads, "fill") as pool:
        begun = [pool.submit(work) for work in works]
    for each in begun:
        each.result()
