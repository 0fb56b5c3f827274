"""Events on their way from a click to a training batch: log, joiner, feed.

Imports no other package of ours.
"""
