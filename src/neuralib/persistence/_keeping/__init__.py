"""Names, codec and store, composed: saving, loading, numbering."""
