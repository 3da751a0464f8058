"""What is in a store: queries, tables, what is missing, what is wrong."""
