"""Embedding rows for 64-bit ids: no two ids share a row, rows expire, memory is bounded."""
