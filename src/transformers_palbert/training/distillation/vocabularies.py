"""Whether two tokenizers mean the same tokens by the same ids, so that two models can read the same batches."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from ...errors import ConfigurationError

__all__ = ["require_same_tokens"]

_SHOWN = 3


def require_same_tokens(student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase) -> None:
    """Check that every id of the student's tokenizer is the same token for the teacher's.

    The teacher's may know more tokens: the student's batches do not hold them.

    Raises:
        ConfigurationError: naming some ids that are not the same token, and the cure.
    """
    known = {number: token for token, number in teacher.get_vocab().items()}
    differing = [
        f"{number} is {token!r} to the student and {known.get(number)!r} to the teacher"
        for token, number in sorted(student.get_vocab().items(), key=lambda item: item[1])
        if known.get(number) != token
    ]
    if differing:
        raise ConfigurationError(
            f"{len(differing)} ids do not mean the same token to student and teacher: {'; '.join(differing[:_SHOWN])}."
            " Both read the same ids, so the teacher would read noise. Take a teacher that was trained with the"
            " student's tokenizer, or train the student with the teacher's."
        )
