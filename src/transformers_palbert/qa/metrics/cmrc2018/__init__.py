"""Folder of the `evaluate` module `cmrc2018`: it must be named like its script."""
