"""A question and a text for the lines of a card that ask the model: our own, so that no card shows your data."""

from __future__ import annotations

__all__ = ["EXAMPLES", "example_in"]

EXAMPLES = {
    "en": ("Who painted the ceiling?", "The chapel was built in 1481, and Michelangelo painted its ceiling in 1512."),
    "zh": ("谁写了《红楼梦》?", "《红楼梦》写于清代,作者是曹雪芹。"),
}
"""Language -> question and text."""


def example_in(text: str) -> tuple[str, str]:
    """The example in the language of ``text``: Chinese if it holds Chinese characters, else English."""
    return EXAMPLES["zh" if any("\u4e00" <= character <= "\u9fff" for character in text) else "en"]
