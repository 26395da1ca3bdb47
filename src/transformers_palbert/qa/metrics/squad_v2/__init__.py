"""Folder of the `evaluate` module `squad_v2`: it must be named like its script."""
