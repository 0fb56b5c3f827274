"""Events on their way from a click to a training batch: log, joiner, encoder, feed.

Imports no other package of ours, except `recsys.errors`.
"""
