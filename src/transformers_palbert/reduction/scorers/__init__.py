"""Scorers, one file each: what a passage is worth for a question. Each may be used by itself."""
