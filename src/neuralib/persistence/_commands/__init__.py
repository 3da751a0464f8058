"""The command ``neuralib-persistence``: what is in a folder of results, from a terminal."""
