"""Which layer of the teacher each layer of the student imitates.

A layer map is a list of pairs ``(student's layer, teacher's layer)``, counted as ``outputs.hidden_states`` is: 1 is the
first layer, -1 the last, and 0 the embeddings below it. Where one layer is applied several times (ALBERT, PAL-BERT),
its applications count, so that a map between ALBERT and BERT looks like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ConfigurationError

__all__ = ["LayerMap", "parse_layer_map", "resolve_layer_map", "uniform_layer_map"]

LayerMap = Sequence[tuple[int, int]]


def uniform_layer_map(student_layers: int, teacher_layers: int) -> list[tuple[int, int]]:
    """Every layer of the student, spread evenly over those of the teacher.

    Layer ``m`` of ``M`` imitates layer ``⌈m · N / M⌉`` of ``N``. The last imitates the last, and
    models of equal depth are compared layer by layer.

    Source: Jiao et al. 2020, "TinyBERT" (arXiv 1909.10351), which maps 4 layers to 12 by ``g(m) = 3 · m``.

    Example:
        >>> uniform_layer_map(4, 12)
        [(1, 3), (2, 6), (3, 9), (4, 12)]
    """
    return [(layer, -(-layer * teacher_layers // student_layers)) for layer in range(1, student_layers + 1)]


def resolve_layer_map(layer_map: LayerMap | None, student_layers: int, teacher_layers: int) -> list[tuple[int, int]]:
    """The pairs of ``layer_map`` without negative numbers; the uniform map for None.

    Raises:
        ConfigurationError: if it is no list of pairs of whole numbers, is empty, holds a pair twice, or names a layer
            that a model does not have.
    """
    if layer_map is None:
        return uniform_layer_map(student_layers, teacher_layers)
    pairs = [_checked_pair(pair) for pair in layer_map] if isinstance(layer_map, Sequence) else []
    if not pairs:
        raise ConfigurationError(
            f"layer_map={layer_map!r} names no layers. Give pairs of layers, student's and teacher's, such as"
            f" {uniform_layer_map(student_layers, teacher_layers)}, or None for these."
        )
    found = [
        (_place(student, student_layers, "student"), _place(teacher, teacher_layers, "teacher"))
        for student, teacher in pairs
    ]
    if twice := next((pair for place, pair in enumerate(found) if pair in found[:place]), None):
        raise ConfigurationError(f"layer_map={layer_map!r} holds the pair {twice} twice; name each once.")
    return found


def _checked_pair(pair: object) -> tuple[int, int]:
    numbers = pair if isinstance(pair, list | tuple) else ()
    if len(numbers) != 2 or any(isinstance(number, bool) or not isinstance(number, int) for number in numbers):
        raise ConfigurationError(
            f"layer_map holds {pair!r}, which is no pair of layers; a pair is a layer of the student and a layer of the"
            " teacher, both whole numbers, such as (2, 4)."
        )
    return numbers[0], numbers[1]


def _place(layer: int, layers: int, whose: str) -> int:
    if not -layers - 1 <= layer <= layers:
        raise ConfigurationError(
            f"layer_map names layer {layer} of the {whose}, which has {layers}: choose 1 to {layers}, -1 for the last,"
            " or 0 for the embeddings below the first."
        )
    return layer % (layers + 1)


def parse_layer_map(text: str) -> list[tuple[int, int]]:
    """The layer map that ``text`` writes as in ``"1:2,2:4,-1:-1"``, the student's layer before the colon.

    Raises:
        ConfigurationError: if it is written otherwise.
    """
    try:
        pairs = [tuple(int(number) for number in pair.split(":")) for pair in text.split(",")]
    except ValueError:
        pairs = []
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ConfigurationError(
            f"distillation_layer_map={text!r} cannot be read. Write each pair as student's layer, colon, teacher's"
            " layer, and commas between the pairs: 1:2,2:4,3:6."
        )
    return [(pair[0], pair[1]) for pair in pairs]
