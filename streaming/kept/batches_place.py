"""What kept batches have of users who are to be erased."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from recsys.errors import file_errors
from streaming.kept.batch_files import BatchFile, batch_files, rewrite

_WHAT = "the kept batches ([training] batches_folder)"


class BatchesPlace:
    """The rows of these users in the files of all runs in `folder`, as far as rows name a user: by a field of it."""

    name = "kept batches"
    remedy = "a trainer has written those that it had in memory: erase again"

    def __init__(self, folder: Path, users: Sequence[str]) -> None:
        self._folder, self._users = folder, users

    def count(self) -> int:
        """Rows. Raises FileError, and StateError for a damaged file."""
        with file_errors(_WHAT, self._folder):
            return sum(map(self._rows, self._files()))

    def remove(self) -> None:
        """Write the files anew without these rows, which a replay does not learn from any more. Raises as `count`."""
        with file_errors(_WHAT, self._folder):
            for file in self._files():
                if self._rows(file):
                    spec = file.origin().spec
                    rewrite(file, (kept.without(self._users, spec) for kept in file.batches()))

    def _rows(self, file: BatchFile) -> int:
        spec = file.origin().spec
        return sum(len(kept.batch) - len(kept.without(self._users, spec).batch) for kept in file.batches())

    def _files(self) -> Iterator[BatchFile]:
        for run in sorted(self._folder.glob("*/")):
            yield from batch_files(run)
