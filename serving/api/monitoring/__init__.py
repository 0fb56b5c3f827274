"""What a server and its trainers say of themselves."""
