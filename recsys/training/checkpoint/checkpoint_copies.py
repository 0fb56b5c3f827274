"""Copies of checkpoints at a URL, from which training goes on where the folder of checkpoints was lost.

A copy has the files of the checkpoint under the same names, and its manifest last: what has none is not complete. So no
renaming is needed, which object stores do not have.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from recsys.errors import CheckpointError, TornCheckpointError
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.checkpoint.manifest import MANIFEST, RUN, bases, named_bases, saved_run, verify
from recsys.training.checkpoint.remote_folder import RemoteFolder

logger = logging.getLogger(__name__)
_RETRY = 30.0


class CheckpointCopies:
    """The newest `keep` checkpoints in `remote`, written by a thread while training goes on.

    Only the newest that was offered is copied: what came in between is left out where copying takes longer than
    training to the next one. A copy that fails is tried again after `retry` seconds, and with the next checkpoint.
    `now` gives seconds since the epoch.
    """

    def __init__(
        self, remote: RemoteFolder, keep: int, now: Callable[[], float] = time.time, retry: float = _RETRY
    ) -> None:
        self._remote, self._keep, self._now, self._retry = remote, keep, now, retry
        self._changed = threading.Condition()
        self._wanted: Path | None = None
        """The newest checkpoint that was offered and is not copied."""
        self._copying: Path | None = None
        self._tried = self._ending = False
        self._status: dict[str, Any] = {"failed": 0}
        self._thread: threading.Thread | None = None

    @property
    def status(self) -> dict[str, Any]:
        """`step` and `written` (ms) of the last copy of this process; how many attempts have `failed` since, and their
        `trouble`."""
        with self._changed:
            return dict(self._status)

    def holds(self, path: Path) -> bool:
        """Whether a checkpoint is needed here, and may not be removed."""
        with self._changed:
            return path in (self._wanted, self._copying)

    def offer(self, path: Path) -> None:
        """Copy the complete checkpoint `path`, soon."""
        with self._changed:
            self._wanted, self._tried = path, False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoint-copies")
                self._thread.start()
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait until the newest one is copied, or an attempt has failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted is None or self._tried)

    def close(self) -> None:
        """End when what is being copied is there, or has failed."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def restore(self, checkpoints: Checkpoints) -> None:
        """Bring the newest complete copy into the folder of `checkpoints`, unless that has one as new.

        Raises CheckpointError if there is neither one here nor an answer from there, or if both are of different runs;
        TornCheckpointError if there are copies alone, and all are damaged.
        """
        try:
            here: Path | None = checkpoints.newest()
        except TornCheckpointError as error:
            logger.warning("%s", error)
            here = None
        try:
            self._remote.make()
            names = self._complete()
        except CheckpointError as error:
            if here is None:
                raise
            logger.warning("%s. Training goes on from %s", error, here)
            return
        if here is not None:
            self._check_run(names, here)
        newer = [name for name in reversed(names) if here is None or name > here.name]
        if not self._fetch(newer, checkpoints, here) and here is not None and here.name not in names:
            self.offer(here)  # not before: newer copies are removed after it

    def _fetch(self, names: list[str], checkpoints: Checkpoints, here: Path | None) -> bool:
        """Whether one of these is in the folder now."""
        refused = []
        for name in names:
            try:
                self._download(name, checkpoints)
            except TornCheckpointError as error:
                logger.warning("copy %s refused, trying the previous one: %s", name, error)
                refused.append(str(error))
            else:
                logger.info("checkpoint %s was brought from %s", name, self._remote.url)
                return True
        if refused and here is None:
            raise TornCheckpointError(
                f"no copy at {self._remote.url} is complete ({'; '.join(refused)}): name another checkpoint_url to "
                "train from the beginning of the log"
            )
        return False

    def _download(self, name: str, checkpoints: Checkpoints) -> None:
        """With what it builds on, unless that is here. Each is verified once, not again with all that build on it."""
        whole: set[str] = set()
        for base in self._bases(name):
            if not self._remote.has(file := f"{base}/{MANIFEST}"):
                raise TornCheckpointError(f"{self._remote.url}: {name} builds on {base}, which is not there")
            if not checkpoints.has(base, self._remote.read(file), whole):
                self._download_files(base, checkpoints, whole)
            whole.add(base)
        self._download_files(name, checkpoints, whole)

    def _download_files(self, name: str, checkpoints: Checkpoints, whole: Container[str]) -> None:
        final = checkpoints.folder / name
        partial = final.with_name(f"{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            for file in self._remote.files(name):
                self._remote.get(f"{name}/{file}", partial / file)
            verify(partial, whole)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _check_run(self, names: list[str], here: Path) -> None:
        """Raise CheckpointError if the newest of these copies that names its run is of another one than `here`."""
        files = (f"{name}/rank-0/{RUN}" for name in reversed(names))
        named = next((file for file in files if self._remote.has(file)), None)
        if named is None:
            return
        there, own = self._remote.read(named).decode(errors="replace"), saved_run(here)
        if there != own:
            raise CheckpointError(
                f"{self._remote.url} has checkpoints of run {there}, and {here} is of run {own}: name another "
                "checkpoint_url, or the folder of checkpoints that belongs to it"
            )

    def _run(self) -> None:
        while (path := self._next()) is not None:
            failed = not self._attempt(path)
            with self._changed:
                self._copying = None
                if self._wanted == path:
                    self._tried = True
                    self._wanted = path if failed else None
                self._changed.notify_all()
                if failed and not self._ending:
                    self._changed.wait_for(lambda path=path: self._ending or self._wanted != path, self._retry)  # type: ignore[misc]

    def _next(self) -> Path | None:
        """What to copy; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted is not None or self._ending)
            if self._ending and self._tried:
                return None
            self._copying = self._wanted
            return self._wanted

    def _attempt(self, path: Path) -> bool:
        try:
            self._check_run(self._complete(), path)
            self._copy(path)
            self._prune(path.name)
        except (CheckpointError, OSError) as error:
            if "trouble" not in self.status:
                logger.warning("checkpoint %s is not copied: %s. Training goes on, and it is tried again", path, error)
            with self._changed:
                self._status |= {"failed": self._status["failed"] + 1, "trouble": str(error)}
            return False
        with self._changed:
            step, written = int(path.name.removeprefix("step-")), int(self._now() * 1000)
            self._status = {"step": step, "written": written, "failed": 0}
        return True

    def _copy(self, path: Path) -> None:
        """With what it builds on, unless that is there."""
        for base in bases(path):
            file = f"{base.name}/{MANIFEST}"
            if not self._remote.has(file) or self._remote.read(file) != (base / MANIFEST).read_bytes():
                self._copy_files(base)
        self._copy_files(path)

    def _copy_files(self, path: Path) -> None:
        self._remote.remove_file(f"{path.name}/{MANIFEST}")
        files = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
        for name in sorted(files, key=MANIFEST.__eq__):  # the manifest last
            self._remote.put(path / name, f"{path.name}/{name}")

    def _prune(self, newest: str) -> None:
        """As `Checkpoints` keeps them, and nothing that is not complete. A manifest goes first."""
        complete = self._complete()
        kept = set([name for name in complete if name <= newest][-self._keep :])
        kept |= {base for name in kept for base in self._bases(name)}
        for name in self._steps():
            if name not in kept:
                self._remote.remove_file(f"{name}/{MANIFEST}")
                self._remote.remove_folder(name)

    def _bases(self, name: str) -> list[str]:
        """The copies that the complete one of this name builds on."""
        return named_bases(self._remote.read(f"{name}/{MANIFEST}"))

    def _complete(self) -> list[str]:
        return [name for name in self._steps() if self._remote.has(f"{name}/{MANIFEST}")]

    def _steps(self) -> list[str]:
        return [name for name in self._remote.folders() if name.startswith("step-")]
