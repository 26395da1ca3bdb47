"""Text into words: what reads characters and knows no model."""
