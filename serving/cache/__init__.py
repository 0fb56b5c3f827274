"""Embedding rows and entity features near the ranker, and the store that they are read from."""
