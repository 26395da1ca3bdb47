"""Pipelines that transformers 5 no longer ships."""

# Before a module of this folder: it is imported by what waits for this import, where transformers is older than 5.23.
import transformers.pipelines  # noqa: F401
