"""What the rows of a table are: an event each, several events, a part of a list, or one of a pair."""
