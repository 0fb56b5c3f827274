"""The items nearest to a user's vector, kept current while vectors change."""
