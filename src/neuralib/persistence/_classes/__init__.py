"""What a user declares, and what a class body says."""
