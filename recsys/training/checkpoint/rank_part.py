"""What one rank writes into a checkpoint, and the list of its files."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from embedding.snapshot.format import is_snapshot
from embedding.snapshot.snapshot_manifest import MANIFEST, chain
from recsys.training.checkpoint.file_digest import file_digest
from streaming.log.durable_files import replace, sync

Files = dict[str, tuple[int, str]]
"""Size and SHA-256 of files, by path in the checkpoint."""


@dataclass(slots=True)
class RankPart:
    """One rank's part of a checkpoint that is not complete yet."""

    partial: Path
    rank: int
    finished: bool = False

    @property
    def folder(self) -> Path:
        return self.partial / f"rank-{self.rank}"

    def start(self) -> None:
        """Make the folder, empty."""
        self.partial.mkdir(parents=True, exist_ok=True)
        listing(self.partial, self.rank).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def finish(self, world: int) -> None:
        """Sync all files to disk, then list them; of a snapshot, already synced, only the manifest."""
        files: Files = {}
        snapshots = [p for p in sorted(self.folder.rglob("*")) if p.is_dir() and is_snapshot(p)]
        for file in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            if file.parent in snapshots and file.name != MANIFEST:
                continue
            sync(file)
            files[str(file.relative_to(self.partial))] = (file.stat().st_size, file_digest(file))
        for inner in [self.folder, *(p for p in self.folder.rglob("*") if p.is_dir())]:
            sync(inner)
        names = [str(p.relative_to(self.partial)) for p in snapshots]
        bases = sorted({base.parents[1].name for p in snapshots for base in chain(p)})
        contents = {"world": world, "files": files, "snapshots": names, "bases": bases}
        replace(listing(self.partial, self.rank), json.dumps(contents).encode())
        self.finished = True

    def remove(self) -> None:
        """Remove what this rank wrote; for rank 0 the parts of all, because the checkpoint fails with it."""
        shutil.rmtree(self.folder if self.rank else self.partial, ignore_errors=True)


def listing(partial: Path, rank: int) -> Path:
    """The file that lists the complete part of `rank`."""
    return partial / f"rank-{rank}.json"
