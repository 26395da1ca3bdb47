"""Text into words and sentences: what reads characters and knows no model."""
