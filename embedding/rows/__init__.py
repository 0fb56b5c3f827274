"""Embedding rows: values and optimizer state in memory, and smaller copies of them for serving."""
