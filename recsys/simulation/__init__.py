"""Users whose preferences are known, so that what is said of a log can be compared with the truth."""
