"""Persistence classes: their declaration, their fields, the methods they get."""
