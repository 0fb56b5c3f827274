"""Commands that fit, judge and search models on a log that lies there."""
