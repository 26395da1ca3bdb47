"""``python -m transformers_palbert``: the ``palbert`` command, as launchers of several processes start it."""

from .cli.main import run

if __name__ == "__main__":
    run()
