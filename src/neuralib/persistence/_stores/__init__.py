"""Where named bytes live."""
