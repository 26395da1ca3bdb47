"""Folder of the `evaluate` module `squad`: it must be named like its script."""
