"""Numba kernels, compiled once and cached on disk. They check nothing: their callers do.

Numba notices edits of a kernel's own file only, so after editing one run `python -m embedding.warm --clear`.
"""
