"""Pickles of unknown origin: what may be made of them, at what cost, and what is in them."""
