"""A model that takes its card along: ``model.push_to_hub`` pushes it in the commit of the weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["CARD_FILE", "attach_card", "card_of"]

CARD_FILE = "README.md"


def attach_card(model: Any, text: str | None) -> None:
    """Let ``model.push_to_hub`` push the card ``text`` with the weights that it describes, in the place of any other.

    Args:
        model: Any model of transformers, ours or not.
        text: The card; None lets transformers write its bare one again.
    """
    model.__dict__.pop("_upload_modified_files", None)
    if text is not None:
        model._upload_modified_files = partial(_upload_with_card, model, text)


def card_of(model: Any) -> str | None:
    """The card that ``model`` takes along."""
    upload = model.__dict__.get("_upload_modified_files")
    return upload.args[1] if isinstance(upload, partial) else None


def _upload_with_card(model: Any, text: str, working_dir: Any, *args: Any, **kwargs: Any) -> Any:
    """The last step of ``push_to_hub``, which has just written a bare card over anything there was."""
    (Path(working_dir) / CARD_FILE).write_text(text, encoding="utf-8")
    return type(model)._upload_modified_files(model, working_dir, *args, **kwargs)
