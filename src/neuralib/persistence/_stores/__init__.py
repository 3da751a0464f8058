"""Stores of named bytes: folders, archives, object stores, memory."""
