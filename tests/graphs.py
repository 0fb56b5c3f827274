"""The graphs that tests have traced, kept from run to run: tracing one takes seconds.

A graph follows from the model's options, the source and what is installed: PyTorch, by which, with the first two, the
exporter names its files, and the packages of ONNX, by which this folder is named. It may be deleted at any time.
"""

from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("onnx", "onnx-ir", "onnxscript")
GRAPHS = Path(__file__).parents[1] / "build" / "graphs" / "-".join(version(name) for name in _PACKAGES)
