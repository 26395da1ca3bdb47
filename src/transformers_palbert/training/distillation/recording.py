"""What passes through the layers of a model while it runs: their outputs, their queries and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...model.layers import scale_gradient
from ...model.structure import EncoderLayer, encoder_layers, layer_applications
from .losses import attention_log_probabilities

__all__ = ["LayerRecord", "Recording"]


@dataclass
class LayerRecord:
    """One application of a layer.

    Attributes:
        width: Of one of its attention heads.
        gradient_scale: What PAL-BERT's layer-wise learning rate makes of gradients that start inside the layer.
        output: Its hidden states, ``[batch, length, hidden]``.
        query: What its query projection returned, ``[batch, length, heads × width]``; None if it has no head left.
        key: Likewise.
    """

    width: int
    gradient_scale: float = 1.0
    output: Tensor | None = None
    query: Tensor | None = None
    key: Tensor | None = None

    def attention(self, mask: Tensor | None) -> Tensor | None:
        """:func:`attention_log_probabilities` of its heads; None if it has none left."""
        if self.query is None or self.key is None or not self.query.shape[-1]:
            return None
        query, key = (scale_gradient(tensor, self.gradient_scale) for tensor in (self.query, self.key))
        return attention_log_probabilities(query, key, self.width, mask)


class Recording:
    """Records the layers of ``model`` between :meth:`start` and :meth:`stop`.

    Reading queries and keys, rather than the attention weights that a model can return, works with every implementation
    of the attention (``sdpa`` and its like return none), and what is made of them has not been through dropout.

    Args:
        model: Of an architecture in :data:`~transformers_palbert.model.structure.STRUCTURES`, with or without a head.
        attention: Whether to record queries and keys.

    Attributes:
        embedded: The input of the first layer, ``[batch, length, hidden]``.
        layers: One record per application of a layer, in their order.
    """

    def __init__(self, model: nn.Module, *, attention: bool) -> None:
        self.model, self.attention = model, attention
        self.embedded: Tensor | None = None
        self.layers: list[LayerRecord] = []
        self._handles: list[RemovableHandle] = []

    @property
    def depth(self) -> int:
        """How many layers a forward pass applies.

        Raises:
            ConfigurationError: if the architecture is not in the table.
        """
        return len(layer_applications(self.model.config))

    def of(self, model: nn.Module) -> Recording:
        """The same for another model, such as a copy."""
        return Recording(model, attention=self.attention)

    def start(self) -> None:
        """Forget what was recorded, and listen; the modules are looked up anew, since pruning replaces some."""
        self.stop()
        self.forget()
        for layer in encoder_layers(self.model):
            self._listen(layer)

    def stop(self) -> None:
        """Listen no more; what was recorded stays."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def forget(self) -> None:
        """Let go of what was recorded, and of the memory that it takes."""
        self.embedded, self.layers = None, []

    def states(self) -> list[Any]:
        """The hidden states as ``outputs.hidden_states`` counts them: the embeddings, then the layers."""
        return [self.embedded, *(record.output for record in self.layers)]

    def _listen(self, layer: EncoderLayer) -> None:
        def begins(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self.layers:
                self.embedded = args[0] if args else kwargs["hidden_states"]
            width: Any = layer.attention.attention_head_size
            self.layers.append(LayerRecord(width, self._gradient_scale(len(self.layers))))

        def ends(_module: nn.Module, _args: object, output: Any) -> None:
            self.layers[-1].output = output[0] if isinstance(output, tuple) else output

        self._handles += [
            layer.module.register_forward_pre_hook(begins, with_kwargs=True),
            layer.module.register_forward_hook(ends),
        ]
        if self.attention:
            self._handles += [self._keep(layer.query, "query"), self._keep(layer.key, "key")]

    def _keep(self, projection: nn.Module, name: str) -> RemovableHandle:
        def projected(_module: nn.Module, _args: object, output: Tensor) -> None:
            setattr(self.layers[-1], name, output)

        return projection.register_forward_hook(projected)

    def _gradient_scale(self, place: int) -> float:
        config: Any = self.model.config
        scales: Sequence[float] = getattr(config, "gradient_scales", ())
        return scales[place // config.inner_group_num] if scales else 1.0
