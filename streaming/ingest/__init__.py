"""From files and requests into the log: decoding, validation, deduplication, merging by time, dead letters."""
