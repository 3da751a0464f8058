"""Bytes to read and bytes to write, wherever they are kept."""
