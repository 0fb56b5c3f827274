"""A proposal in words: the text of the configuration, what is missing, and what only the user can say."""
