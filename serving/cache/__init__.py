"""Cached embedding rows and entity features, and the store that they are read from."""
