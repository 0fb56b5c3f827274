"""What is logged goes to standard error, a line each."""

from __future__ import annotations

import logging

_CHATTY = ("numba", "matplotlib", "PIL", "onnxscript", "onnx_ir", "torch.onnx")
_TOLD = "serving.replication.follow.model_loader"
"""What a server says of the models that it takes, whatever the level."""


def log_to_stderr(level: int) -> None:
    """From now on, from this level on; of libraries that log much, warnings; what servers score in is always shown."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger(_TOLD).setLevel(min(level, logging.INFO))
