"""Keys to text and back: how a name is read."""
