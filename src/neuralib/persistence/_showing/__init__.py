"""Values as short texts, HTML and small pictures."""
