"""Configuration of PAL-BERT: every field of ALBERT, and what pruned question answering adds to it."""

# No `from __future__ import annotations` here: the strict dataclass checks fields by their types, not by strings.

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers.models.albert.configuration_albert import AlbertConfig

from ..errors import ConfigurationError
from .applications import mask_from_text
from .layers import LayerPool
from .pruning_state import PruningState
from .structure import DEEPEST

__all__ = ["MAX_GRADIENT_RATIO", "QA_LAYER_POOLINGS", "PalBertConfig"]

QA_LAYER_POOLINGS = LayerPool.MODES
"""Ways to make one input of the question-answering head from several layer applications."""

MAX_GRADIENT_RATIO = 1e6
"""Largest ratio of the learning rates of the last and the first application; float16 holds no wider span safely."""

_SIZES = (
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_hidden_groups",
    "num_attention_heads",
    "intermediate_size",
    "inner_group_num",
    "max_position_embeddings",
    "type_vocab_size",
)
_PROBABILITIES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")


def _with_configuration_errors(cls: "type[PalBertConfig]") -> "type[PalBertConfig]":
    """Let ``cls`` raise :class:`ConfigurationError` where the strict dataclass below it raises an error of its own."""
    for name in ("__init__", "__setattr__", "validate"):
        setattr(cls, name, _translated(getattr(cls, name)))
    return cls


def _translated(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except StrictDataclassError as error:
            if isinstance(error.__cause__, ConfigurationError):
                raise error.__cause__ from None
            raise ConfigurationError(f"PalBertConfig: {error}") from error

    return call


@_with_configuration_errors
@strict
class PalBertConfig(AlbertConfig):
    """Configuration of a PAL-BERT model.

    With the defaults of the fields below, the model is ALBERT: the same logits, the same checkpoint keys.
    :meth:`from_pretrained` reads the ``config.json`` of an ALBERT checkpoint as well. :meth:`albert_large_zh` and its
    sisters give the shapes of the published Chinese ALBERTs by name.

    Args:
        qa_layers: Which layer applications feed the question-answering head, as indices in
            ``[-num_hidden_layers, num_hidden_layers)``; 0 is the first application, -1 the last. None takes the last.
            One application is one pass through a layer group, so ALBERT has ``num_hidden_layers`` of them although
            they share their weights. Applications above the highest chosen one still run; where nothing else needs
            them, a lower ``num_hidden_layers`` saves their time.
        qa_layer_pooling: How several applications become one input of that head. ``"last"`` (one application only),
            ``"mean"``, ``"max"`` (elementwise), ``"concat"`` (the head grows to ``len(qa_layers) * hidden_size``
            inputs), ``"weighted_sum"`` (softmax-weighted, weights learned).
        layer_lr_decay: ε > 0 of equations 6 and 7 of the PAL-BERT paper, doi 10.32604/cmes.2023.046692: each
            application learns ε times as fast as the one above it. Below 1 the top learns fastest, above 1 the bottom
            does, 1.0 is off. On weights that all applications share, it says how much each has a say in their common
            gradient. Adam divides a gradient by its own size, so with it (and all its kin) the shared layer as a whole
            learns no slower for a small ε: only the shares of its applications change. The embeddings, which have
            weights of their own, learn ``ε ** num_hidden_layers`` times as fast as the head.
        attention_head_size: Width of one attention head. None is ``hidden_size // num_attention_heads``. A compacted
            model states it, since removing heads leaves the width of the others as it was.
        application_heads: Which heads each application of a layer uses, as hexadecimal digits: bit ``i % 8`` of byte
            ``i // 8`` is set if head ``i`` is used. One string for each application of a layer, in their order,
            ``num_hidden_layers * inner_group_num`` in all. None: every application uses all of them.
        application_units: Which feed-forward units each application uses, likewise.
        pruning: State of pruning that the pruning code wrote, a dictionary that JSON can hold: ``method``,
            ``granularity``, ``scope``, ``target_sparsity``, ``density``, ``status`` (``"training"`` or ``"final"``) and
            ``targets`` (names of the pruned modules). None for a model that was never pruned.
        hidden_act: Name of an activation of ``transformers``: ``"gelu_new"``, ``"gelu"``, ``"mish"``, ``"relu"`` …
        **kwargs: Every field of :class:`~transformers.AlbertConfig`, with its defaults.

    Raises:
        ConfigurationError: if a field has a wrong type or value, or two fields contradict each other. The message
            names field, value and allowed values.

    Example:
        >>> config = PalBertConfig(hidden_size=1024, num_attention_heads=16, intermediate_size=4096,
        ...                        num_hidden_layers=24, hidden_act="mish", qa_layers=[11, 23],
        ...                        qa_layer_pooling="mean", layer_lr_decay=0.95)
        >>> config.head_size
        64
    """

    model_type = "palbert"

    @classmethod
    def albert_tiny_zh(cls, **changes: Any) -> "PalBertConfig":
        """The shape of albert_tiny_zh: 4 layers of 312 units, 4.0 million parameters; ``changes`` are other fields."""
        return cls(**(_albert_zh(layers=4, width=312, heads=12) | changes))

    @classmethod
    def albert_small_zh(cls, **changes: Any) -> "PalBertConfig":
        """The shape of albert_small_zh_google: 6 layers of 384 units, 4.6 million parameters."""
        return cls(**(_albert_zh(layers=6, width=384, heads=12) | changes))

    @classmethod
    def albert_base_zh(cls, **changes: Any) -> "PalBertConfig":
        """The shape of albert_base_zh: 12 layers of 768 units, 10.0 million parameters."""
        return cls(**(_albert_zh(layers=12, width=768, heads=12) | changes))

    @classmethod
    def albert_large_zh(cls, **changes: Any) -> "PalBertConfig":
        """The shape of albert_large_zh, the paper's Table 5: 24 layers of 1024 units, 15.5 million parameters."""
        return cls(**(_albert_zh(layers=24, width=1024, heads=16) | changes))

    @classmethod
    def albert_xlarge_zh(cls, **changes: Any) -> "PalBertConfig":
        """The shape of albert_xlarge_zh: 24 layers of 2048 units, 53.4 million parameters.

        It has 32 heads; Google's Chinese ALBERT of that size, otherwise equal, has ``num_attention_heads=16``.
        """
        return cls(**(_albert_zh(layers=24, width=2048, heads=32) | changes))

    qa_layers: list[int] | tuple[int, ...] | None = None
    qa_layer_pooling: str = "last"
    layer_lr_decay: float | int = 1.0
    attention_head_size: int | None = None
    application_heads: list[str] | tuple[str, ...] | None = None
    application_units: list[str] | tuple[str, ...] | None = None
    pruning: dict[str, Any] | None = None

    @property
    def head_size(self) -> int:
        """Width of one attention head, also where ``attention_head_size`` is None."""
        return self.attention_head_size or self.hidden_size // self.num_attention_heads

    @property
    def qa_layer_indices(self) -> list[int]:
        """Applications that feed the question-answering head, from 0, in ascending order."""
        layers = (-1,) if self.qa_layers is None else self.qa_layers
        return sorted(layer % self.num_hidden_layers for layer in layers)

    @property
    def gradient_scales(self) -> list[float]:
        """Factor on the weights' gradient of each application, ``s_l = ε^(L-1-l)`` for l = 0 … L-1."""
        last = self.num_hidden_layers - 1
        return [float(self.layer_lr_decay) ** (last - layer) for layer in range(self.num_hidden_layers)]

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Like the parent's, but an ALBERT file counts as ours: every ALBERT configuration is a PAL-BERT one."""
        config, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if config.get("model_type") == AlbertConfig.model_type:
            config["model_type"] = cls.model_type
        return config, kwargs

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Like the parent's, but what ``kwargs`` override is checked together, after all of it is set."""
        result = super().from_dict(config_dict, **kwargs)
        (result[0] if isinstance(result, tuple) else result).validate()
        return result

    def validate_fields(self) -> None:
        """Check every field, the simple ones first. The strict dataclass calls this; use :meth:`validate`."""
        self._check_ranges()
        self._check_layers()
        self._check_layer_lr_decay()
        self._check_qa_layers()
        self._check_applications()
        PruningState.of(self)  # raises if it is malformed

    def _check_ranges(self) -> None:
        """Check each field of ALBERT by itself."""
        for name in _SIZES:
            if getattr(self, name) < 1:
                raise _wrong(name, getattr(self, name), "a positive integer")
        if self.num_hidden_layers > DEEPEST:
            raise _wrong("num_hidden_layers", self.num_hidden_layers, f"at most {DEEPEST:,}")
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise _wrong(name, value, "a probability in [0, 1)")
        if not self.layer_norm_eps > 0:
            raise _wrong("layer_norm_eps", self.layer_norm_eps, "a positive number")
        _check_choice("hidden_act", self.hidden_act, _activations())

    def _check_layers(self) -> None:
        """Check the fields that count layers, heads and groups against each other."""
        if self.num_hidden_groups > self.num_hidden_layers:
            allowed = f"at most num_hidden_layers={self.num_hidden_layers}; more groups than layers are never applied"
            raise _wrong("num_hidden_groups", self.num_hidden_groups, allowed)
        if self.attention_head_size is not None and self.attention_head_size < 1:
            raise _wrong("attention_head_size", self.attention_head_size, "a positive integer or None")
        if self.attention_head_size is None and self.hidden_size % self.num_attention_heads:
            allowed = f"a divisor of hidden_size={self.hidden_size}, or attention_head_size set explicitly"
            raise _wrong("num_attention_heads", self.num_attention_heads, allowed)

    def _check_layer_lr_decay(self) -> None:
        """Check ε by itself and against the depth."""
        if not 0 < self.layer_lr_decay < float("inf"):
            raise _wrong("layer_lr_decay", self.layer_lr_decay, "a number above 0; 1.0 is off")
        highest = MAX_GRADIENT_RATIO ** (1 / max(1, self.num_hidden_layers - 1))
        if not 1 / highest <= self.layer_lr_decay <= highest:
            allowed = (
                f"between {1 / highest:.3g} and {highest:.3g} with num_hidden_layers={self.num_hidden_layers}; beyond"
                f" that, the gradient of the first layer, scaled by layer_lr_decay ** {self.num_hidden_layers - 1},"
                " leaves the range of float16"
            )
            raise _wrong("layer_lr_decay", self.layer_lr_decay, allowed)

    def _check_qa_layers(self) -> None:
        """Check the layers that feed the question-answering head, and their pooling."""
        _check_choice("qa_layer_pooling", self.qa_layer_pooling, QA_LAYER_POOLINGS)
        layers, depth = self.qa_layers, self.num_hidden_layers
        if layers is None:
            if self.qa_layer_pooling != "last":
                allowed = "'last' while qa_layers is None (the last layer only); name the layers to pool in qa_layers"
                raise _wrong("qa_layer_pooling", self.qa_layer_pooling, allowed)
            return
        if not layers or any(not -depth <= layer < depth for layer in layers):
            allowed = f"None, or a non-empty list of layers in [-{depth}, {depth}) for num_hidden_layers={depth}"
            raise _wrong("qa_layers", layers, allowed)
        if len(set(self.qa_layer_indices)) != len(layers):
            raise _wrong("qa_layers", layers, f"each layer once; these are the layers {self.qa_layer_indices}")
        if self.qa_layer_pooling == "last" and len(layers) > 1:
            allowed = f"one of {QA_LAYER_POOLINGS[1:]} with qa_layers={layers}; 'last' would ignore all but one"
            raise _wrong("qa_layer_pooling", self.qa_layer_pooling, allowed)

    def _check_applications(self) -> None:
        """Check the masks of the applications against their number and that of heads and units."""
        count = self.num_hidden_layers * self.inner_group_num
        sizes = {"application_heads": self.num_attention_heads, "application_units": self.intermediate_size}
        for name, size in sizes.items():
            masks = getattr(self, name)
            if masks is None:
                continue
            if len(masks) != count:
                raise _wrong(name, masks, f"None, or {count} masks, one for each application of a layer")
            for mask in masks:
                mask_from_text(mask, size)


def _albert_zh(layers: int, width: int, heads: int) -> dict[str, Any]:
    """What the published configurations of albert_zh have in common, at one size.

    Source: ``albert_config/albert_config_{size}.json`` of github.com/brightmart/albert_zh.
    """
    return {
        "vocab_size": 21128,
        "embedding_size": 128,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def _activations() -> tuple[str, ...]:
    from transformers.activations import ACT2FN  # here: only checking needs it

    return tuple(sorted(ACT2FN))


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise _wrong(name, value, "one of " + ", ".join(map(repr, allowed)))


def _wrong(name: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"PalBertConfig: {name}={value!r} is not allowed; allowed: {allowed}.")
