"""Retrieval judged by what users did later, on MovieLens 1M: baselines, slates, and the tables of docs/retrieval.md."""
