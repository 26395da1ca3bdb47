"""Exceptions and warnings of the package.

Every error subclasses both :class:`PalBertError` and the builtin a caller would have caught anyway, so that
``except ValueError`` keeps working. A message names the value, the cause and the cure.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = [
    "ConfigurationError",
    "DatasetFormatError",
    "ExportError",
    "MissingExtraError",
    "NoEffectWarning",
    "PalBertError",
    "PruningError",
    "PruningWarning",
    "StorageError",
    "TokenizerError",
    "VectorsError",
    "require",
]


class PalBertError(Exception):
    """Base class of every error that this package raises."""


class ConfigurationError(PalBertError, ValueError):
    """A setting has a value that is not allowed, or two settings contradict each other."""


class DatasetFormatError(PalBertError, ValueError):
    """A question-answering file cannot be read; the message names file, record and field."""


class ExportError(PalBertError, RuntimeError):
    """An exported model does not compute what the model does that it was made from."""


class MissingExtraError(PalBertError, ImportError):
    """An optional dependency is missing; the message names the extra to install."""


class PruningError(PalBertError, RuntimeError):
    """Pruning cannot do what was asked for."""


class StorageError(PalBertError, ValueError):
    """A packed tensor or file is damaged, hostile or of an unknown version, or an array cannot be packed."""


class TokenizerError(PalBertError, ValueError):
    """A tokenizer cannot represent the text it is meant for."""


class VectorsError(PalBertError, ValueError):
    """A file of word vectors cannot be read, or words and vectors do not fit together."""


class PruningWarning(UserWarning):
    """Pruning does what was asked for, and the model that comes out will probably be of no use."""


class NoEffectWarning(UserWarning):
    """Something was asked for that changes nothing, such as pruning a model to density 1."""


def require(module: str, extra: str) -> ModuleType:
    """Import and return ``module``, which the optional extra ``extra`` installs.

    Raises:
        MissingExtraError: if ``module`` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise  # the module is there, something it needs is not: do not hide that
        raise MissingExtraError(
            f"`{module}` is not installed, and this feature needs it. Install it with:"
            f" pip install 'transformers-palbert[{extra}]'"
        ) from error
