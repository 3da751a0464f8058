"""Handlers, which save, load and find the results of a class."""
