"""Results computed where they are missing."""
