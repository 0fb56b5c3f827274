"""What kept batches have of users who are to be erased."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recsys.errors import file_errors
from streaming.kept.batch_files import batch_files, remove_unfinished

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
            return sum(file.rows_of(self._users) for run in self._runs() for file in batch_files(run))

    def remove(self) -> None:
        """Write the files anew without these rows, which a replay does not learn from any more. Raises as `count`."""
        with file_errors(_WHAT, self._folder):
            for run in self._runs():
                remove_unfinished(run)
                for file in batch_files(run):
                    file.drop(self._users)

    def _runs(self) -> list[Path]:
        return sorted(self._folder.glob("*/"))
