"""What several commands print: tables of results, and what is unusual about a log."""
