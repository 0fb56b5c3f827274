"""Every error that this project raises on purpose, in one tree.

```
RecsysError
├── InvalidValueError        a value given by the caller or in a file: setting, option, argument, event (a ValueError)
│   └── ConfigError          recsys.toml, with the line and a remedy
├── LogError                 the event log
│   ├── AppendError          events could not be stored; appending them again may store them twice
│   ├── LogCorruptedError    bytes in the log are not as they were written
│   └── LogFullError         the server cannot take more events now
├── FileError                a file or folder that cannot be read or written, with its path (an OSError)
├── IngestError              a source that cannot be read on
│   └── BrokenSourceError    it is damaged or ends too early: reading it again does not help
├── StateError               something that was saved cannot be used
│   ├── CheckpointError      the checkpoint folder: busy, or not writable
│   ├── ColdRowsError        embedding rows on disk whose bits have changed
│   ├── TornCheckpointError  a checkpoint or snapshot that is damaged or was not finished
│   │   └── TornBaseError    one that another one builds on
│   └── ArtefactError        an exported graph that is damaged or of another version
├── ExportError              a model that cannot be exported
├── LeaseError               another trainer publishes the model
├── PromotionError           a model that cannot be promoted, or gone back to
├── WorkerError              the processes that train together
├── ApiError                 a request that the server refuses: `serving/api/messages/request_errors.py`
└── UnavailableError         a service that does not answer (a ConnectionError)
    ├── RowsUnavailableError     Redis, for a reader
    ├── PublishError             Redis, for the trainer
    │   └── OutOfStepError       another trainer has published in between
    └── RedisServerError         the embedded Redis does not start
```
The command line prints these without a traceback, and no others. Anything else is a fault of this project.

This is the one module of `recsys` that `embedding`, `streaming` and `serving` import; it imports none of this project.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RecsysError(Exception):
    """Base of all errors raised on purpose."""


class InvalidValueError(RecsysError, ValueError):
    """A setting, option, argument or event that is not valid; the message names it and says what to write."""


class ConfigError(InvalidValueError):
    """`recsys.toml` is not valid: every problem with its line and a remedy."""


class LogError(RecsysError):
    """The event log cannot do what was asked."""


class AppendError(LogError, OSError):
    """Events could not be stored, such as on a full disk; appending them again may store them twice."""


class LogCorruptedError(LogError):
    """Bytes in the log are not as they were written."""


class LogFullError(LogError):
    """The server cannot take more events now."""


class FileError(RecsysError, OSError):
    """A file or folder cannot be read or written; the message has its path and what to do."""


class IngestError(RecsysError):
    """A source cannot be read any further."""


class BrokenSourceError(IngestError):
    """Sources are damaged, end too early or may not be read; what could be read of all sources is stored."""


class StateError(RecsysError):
    """Something that was saved cannot be used."""


class CheckpointError(StateError, OSError):
    """The folder of checkpoints is in use by another trainer, or cannot be written."""


class ColdRowsError(StateError):
    """Embedding rows on disk are not as they were written."""


class TornCheckpointError(StateError):
    """A checkpoint or snapshot is damaged, or was not finished."""


class TornBaseError(TornCheckpointError):
    """The snapshot in `base`, which another one builds on, is damaged, was not finished or is not the one it was."""

    def __init__(self, message: str, base: Path) -> None:
        super().__init__(message)
        self.base = base


class ArtefactError(StateError):
    """An exported graph is damaged, or of a version that this server does not read."""


class ExportError(RecsysError):
    """A model cannot be exported."""


class LeaseError(RecsysError):
    """Another trainer publishes the model; the message says which one and what to do."""


class PromotionError(RecsysError):
    """A model cannot become the champion; the message says why and what to do."""


class WorkerError(RecsysError):
    """A process that trains together with this one has gone, or the group of them cannot start."""


class UnavailableError(RecsysError, ConnectionError):
    """A service does not answer."""


class RowsUnavailableError(UnavailableError):
    """Redis does not give rows."""


class PublishError(UnavailableError):
    """Redis does not take what the trainer publishes."""


class OutOfStepError(PublishError):
    """Another trainer has published in between, or Redis has lost what was published."""


class RedisServerError(UnavailableError):
    """The embedded Redis cannot be started."""


_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within the quota",
    errno.EACCES: "change the permissions, or name another path",
    errno.EPERM: "change the permissions, or name another path",
    errno.EROFS: "name a path that can be written to",
    errno.ENOENT: "name a path that exists",
    errno.EISDIR: "this is a folder, name a file",
    errno.ENOTDIR: "a part of the path is a file, name another path",
    errno.EEXIST: "this is a file, name a folder",
}


@contextmanager
def file_errors(what: str, path: Path, kind: type[RecsysError] = FileError) -> Iterator[None]:
    """Raise `kind` for an OSError of the block, with the path and a remedy.

    `what` says what the file is to the user, such as the setting that names it.
    """
    try:
        yield
    except RecsysError:
        raise
    except OSError as error:
        place = error.filename if error.filename is not None else path
        remedy = _REMEDIES.get(error.errno or 0, "check the path and the disk")
        raise kind(f"{what}: {place}: {error.strerror or error}; {remedy}") from error
