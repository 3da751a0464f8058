"""The command ``neuralib-persistence``: works with folders of results from a terminal."""
