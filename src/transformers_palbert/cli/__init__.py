"""The command line: ``palbert evaluate``, ``answer``, ``inspect`` and ``data stats``."""
