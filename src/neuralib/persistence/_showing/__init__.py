"""Values as text, HTML and small pictures."""
