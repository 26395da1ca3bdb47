"""Text into words and sentences, and shorter texts: what reads characters and knows no model."""
