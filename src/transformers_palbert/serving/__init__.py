"""A model behind HTTP: ``palbert serve``. Needs the extra ``serve``."""
