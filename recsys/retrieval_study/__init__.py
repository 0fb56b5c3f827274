"""Retrieval judged by what users did later, on MovieLens 1M: the tables of docs/retrieval.md."""
