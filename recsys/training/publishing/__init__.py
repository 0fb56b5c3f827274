"""What a trainer publishes, and when a new run takes the place of the one that servers follow."""
