"""The recipes that come with the package: options of a training, in YAML."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigurationError

__all__ = ["RECIPES", "find_recipe"]

RECIPES = Path(__file__).parent / "recipes"


def find_recipe(name: str, folder: Path = Path()) -> Path:
    """A recipe's file: one in ``folder`` or at that path, or else the package's own of that name.

    Raises:
        ConfigurationError: if there is neither.
    """
    for file in (folder / name, RECIPES / name):
        if file.is_file():
            return file
    known = ", ".join(sorted(file.name for file in RECIPES.glob("*.yaml")))
    raise ConfigurationError(f"There is no recipe {name!r}: no such file, and the package has {known}.")
