"""What the processes of a group know of each other, and how ids travel between them."""
