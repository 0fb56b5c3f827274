"""Rows in the memory of FBGEMM: reading, training, and undoing what went wrong."""
