"""Every error that this project raises on purpose, in one tree.

```
RecsysError
├── InvalidValueError        a value given by the caller or in a file: setting, option, argument, event (a ValueError)
│   └── ConfigError          recsys.toml, with the line and a remedy
├── LogError                 the event log
│   ├── AppendError          events could not be stored; appending them again may store them twice
│   ├── LogCorruptedError    bytes in the log are not as they were written
│   └── LogFullError         the server cannot take more events now
├── IngestError              a source that cannot be read on
├── StateError               something that was saved cannot be used
│   ├── CheckpointError      the checkpoint folder: busy, or not writable
│   ├── TornCheckpointError  a checkpoint or snapshot that is damaged or was not finished
│   └── ArtefactError        an exported graph that is damaged or of another version
├── ExportError              a model that cannot be exported
├── ApiError                 a request that the server refuses, one class per status: `serving/api/errors.py`
└── UnavailableError         a service that does not answer (a ConnectionError)
    ├── RowsUnavailableError     Redis, for a reader
    ├── PublishError             Redis, for the trainer
    │   └── OutOfStepError       another trainer has published in between
    └── RedisServerError         the embedded Redis does not start
```
The command line prints these without a traceback, and no others. Anything else is a fault of this project.

This is the one module of `recsys` that `embedding`, `streaming` and `serving` import; it imports nothing.
"""

from __future__ import annotations


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


class IngestError(RecsysError):
    """A source cannot be read any further."""


class StateError(RecsysError):
    """Something that was saved cannot be used."""


class CheckpointError(StateError, OSError):
    """The folder of checkpoints is in use by another trainer, or cannot be written."""


class TornCheckpointError(StateError):
    """A checkpoint or snapshot is damaged, or was not finished."""


class ArtefactError(StateError):
    """An exported graph is damaged, or of a version that this server does not read."""


class ExportError(RecsysError):
    """A model cannot be exported."""


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
