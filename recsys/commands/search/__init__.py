"""The commands of `recsys search`, one file each."""
