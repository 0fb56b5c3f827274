"""What becomes of records that are not accepted: why, in words, and where they are kept."""
