"""How a result becomes a file, and a file a result."""
