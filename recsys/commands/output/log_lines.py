"""What is logged goes to standard error, a line each."""

from __future__ import annotations

import logging

_CHATTY = ("numba", "matplotlib", "PIL", "onnxscript", "onnx_ir", "torch.onnx")


def log_to_stderr(level: int) -> None:
    """From now on, from this level on; of libraries that log much, warnings."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
