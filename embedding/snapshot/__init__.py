"""Saving and loading the state of a store: files, copy-on-write for saving in the background, and resharding."""
