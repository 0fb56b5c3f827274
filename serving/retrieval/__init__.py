"""Candidates for `POST /v1/recommend`: sources behind one interface, and what merges them."""
