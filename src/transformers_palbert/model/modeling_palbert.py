"""PAL-BERT models: ALBERT with a choice of layers, layer-wise learning rates, and heads of any number and width.

The modules are ALBERT's own wherever they can be, and so are all checkpoint keys: an ALBERT checkpoint loads here, and
with default settings a checkpoint from here loads in ALBERT.
"""

# No `from __future__ import annotations` here: transformers reads a model's configuration class off its annotation.

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, QuestionAnsweringModelOutput
from transformers.models.albert.modeling_albert import (
    AlbertAttention,
    AlbertEmbeddings,
    AlbertForMaskedLM,
    AlbertForMultipleChoice,
    AlbertForPreTraining,
    AlbertForPreTrainingOutput,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertLayer,
    AlbertLayerGroup,
    AlbertMLMHead,
    AlbertModel,
    AlbertPreTrainedModel,
    AlbertSOPHead,
    AlbertTransformer,
)
from transformers.utils.generic import can_return_tuple

from ..errors import ConfigurationError
from .applications import SlicedLinear, cut_applications, one_at_a_time, run_application
from .configuration_palbert import PalBertConfig
from .headless import constant_states, no_weights
from .layers import LayerPool, scale_gradient

__all__ = [
    "PalBertForMaskedLM",
    "PalBertForMultipleChoice",
    "PalBertForPreTraining",
    "PalBertForQuestionAnswering",
    "PalBertForSequenceClassification",
    "PalBertForTokenClassification",
    "PalBertModel",
    "PalBertPreTrainedModel",
]


class PalBertAttention(AlbertAttention):
    """ALBERT's self-attention with ``num_attention_heads`` heads of any width ``head_size``."""

    def __init__(self, config: PalBertConfig) -> None:
        super().__init__(config)
        if config.head_size == self.attention_head_size and self.all_head_size == config.hidden_size:
            return
        self.attention_head_size = config.head_size
        self.all_head_size = config.num_attention_heads * config.head_size
        self.scaling = config.head_size**-0.5
        for name in ("query", "key", "value"):
            setattr(self, name, nn.Linear(config.hidden_size, self.all_head_size))
        self.dense = nn.Linear(self.all_head_size, config.hidden_size)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> tuple[Tensor, Any]:
        """ALBERT's, where a loss on the attention weights (distillation) is scaled like every other."""
        gradient_scale = kwargs.pop("gradient_scale", 1.0)
        if isinstance(self.dense, SlicedLinear) and self.dense.width == 0:  # what no head adds to, the bias does
            output = self.dense(constant_states(hidden_states, [self.query, self.key, self.value]))
            return self.LayerNorm(hidden_states + self.output_dropout(output)), no_weights(hidden_states, self.config)
        result: Any = super().forward(hidden_states, attention_mask, **kwargs)
        output, weights = result  # no weights where the implementation of the attention does not return them
        return output, None if weights is None else scale_gradient(weights, gradient_scale)


class PalBertLayer(GradientCheckpointingLayer, AlbertLayer):
    """ALBERT's layer, whose weights receive ``gradient_scale`` times their gradient from this application."""

    def __init__(self, config: PalBertConfig) -> None:
        super().__init__(config)
        self.attention = PalBertAttention(config)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Apply the layer to ``hidden_states``, ``[batch, length, hidden]``.

        The scale is undone on the way out of the layer, so what lies below receives the gradient as it is. It is
        applied inside the layer so that every reader of the output, be it the next layer, the question-answering head
        or a loss on the hidden states, reaches the weights through it, once.
        """
        gradient_scale = kwargs.get("gradient_scale", 1.0)  # stays there: the attention below takes it out
        application = kwargs.pop("application", 0)
        hidden_states = scale_gradient(hidden_states, 1.0 / gradient_scale)
        with one_at_a_time(self):
            run_application(self, application, gradient_scale)
            hidden_states = super().forward(hidden_states, attention_mask, **kwargs)
        return scale_gradient(hidden_states, gradient_scale)


class PalBertLayerGroup(AlbertLayerGroup):
    """ALBERT's group of ``inner_group_num`` layers."""

    def __init__(self, config: PalBertConfig) -> None:
        nn.Module.__init__(self)  # the parent's would build ALBERT's layers first
        self.albert_layers = nn.ModuleList(PalBertLayer(config) for _ in range(config.inner_group_num))


class PalBertTransformer(AlbertTransformer):
    """ALBERT's encoder: ``num_hidden_layers`` applications of ``num_hidden_groups`` layer groups."""

    def __init__(self, config: PalBertConfig) -> None:
        nn.Module.__init__(self)  # as above
        self.config = config
        self.embedding_hidden_mapping_in = nn.Linear(config.embedding_size, config.hidden_size)
        self.albert_layer_groups = nn.ModuleList(PalBertLayerGroup(config) for _ in range(config.num_hidden_groups))

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> BaseModelOutput:
        """Encode embeddings ``[batch, length, embedding]`` into ``[batch, length, hidden]``."""
        hidden_states = self.embedding_hidden_mapping_in(hidden_states)
        layers_per_group = self.config.num_hidden_layers / self.config.num_hidden_groups
        applied = [0] * self.config.num_hidden_groups
        for index, scale in enumerate(self.config.gradient_scales):
            group = int(index / layers_per_group)
            which = {"gradient_scale": scale, "application": applied[group]}
            hidden_states = self.albert_layer_groups[group](hidden_states, attention_mask, **which, **kwargs)
            applied[group] += 1
        return BaseModelOutput(last_hidden_state=hidden_states)


class PalBertPreTrainedModel(AlbertPreTrainedModel):
    """Loading, saving and initialisation of all PAL-BERT models."""

    config: PalBertConfig
    base_model_prefix = "albert"
    supports_gradient_checkpointing = True
    _no_split_modules = ["PalBertLayer"]  # noqa: RUF012 (read by transformers, which declares it)
    _can_record_outputs = {"hidden_states": PalBertLayer, "attentions": PalBertAttention}  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, LayerPool) and module.layer_weights is not None:
            init.zeros_(module.layer_weights)


# The heads below are ALBERT's. Each __init__ skips that of its ALBERT class, which would build ALBERT's encoder.


class PalBertModel(PalBertPreTrainedModel, AlbertModel):
    """The encoder: hidden states, and with ``add_pooling_layer`` a pooled vector per sequence."""

    config: PalBertConfig

    def __init__(self, config: PalBertConfig, add_pooling_layer: bool = True) -> None:
        AlbertPreTrainedModel.__init__(self, config)
        config.validate()  # fields may have been set one by one since the configuration was made
        self.embeddings = AlbertEmbeddings(config)
        self.encoder = PalBertTransformer(config)
        pooler = nn.Linear(config.hidden_size, config.hidden_size) if add_pooling_layer else None
        self.register_module("pooler", pooler)
        self.register_module("pooler_activation", nn.Tanh() if add_pooling_layer else None)
        self.attn_implementation = config._attn_implementation
        cut_applications(self)
        self.post_init()


class PalBertForMaskedLM(PalBertPreTrainedModel, AlbertForMaskedLM):
    """PAL-BERT with a masked language modelling head."""

    def __init__(self, config: PalBertConfig) -> None:
        AlbertPreTrainedModel.__init__(self, config)
        self.albert = PalBertModel(config, add_pooling_layer=False)
        self.predictions = AlbertMLMHead(config)
        self.post_init()


class PalBertForPreTraining(PalBertPreTrainedModel, AlbertForPreTraining):
    """PAL-BERT with the heads of pre-training: masked language modelling and sentence-order prediction."""

    accepts_loss_kwargs = False  # its losses are means, and Trainer divides them by the steps it accumulates

    def __init__(self, config: PalBertConfig) -> None:
        AlbertPreTrainedModel.__init__(self, config)
        self.albert = PalBertModel(config)
        self.predictions = AlbertMLMHead(config)
        self.sop_classifier = AlbertSOPHead(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        sentence_order_label: Tensor | None = None,
        masked_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> AlbertForPreTrainingOutput:
        """Predict hidden tokens, and whether the two segments were swapped.

        Args:
            input_ids: int64 ``[batch, length]``; or else ``inputs_embeds``.
            attention_mask: 1 for tokens, 0 for padding, ``[batch, length]``.
            token_type_ids: 0 for the first segment, 1 for the second, ``[batch, length]``.
            position_ids: int64 ``[batch, length]``, in ``[0, max_position_embeddings)``.
            inputs_embeds: ``[batch, length, embedding_size]``, in place of ``input_ids``.
            labels: The hidden tokens, -100 where there is nothing to predict; ``[batch, predictions]``.
            sentence_order_label: 1 for swapped segments, else 0, ``[batch]``.
            masked_positions: The tokens to predict, int64 ``[batch, predictions]``. Training predicts some 15 % of the
                tokens, and naming them saves the time and memory of the other logits. None predicts all.
            **kwargs: ``output_hidden_states``, ``output_attentions``, ``return_dict`` and options of the attention.

        Returns:
            ``loss`` (the sum of both mean cross-entropies, if both labels are given), ``prediction_logits``
            (``[batch, predictions, vocabulary]``) and ``sop_logits`` (``[batch, 2]``).
        """
        outputs = self.albert(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        states = outputs.last_hidden_state
        if masked_positions is not None:
            states = states.gather(1, masked_positions.unsqueeze(-1).expand(-1, -1, states.size(-1)))
        prediction_logits, sop_logits = self.predictions(states), self.sop_classifier(outputs.pooler_output)
        loss = None
        if labels is not None and sentence_order_label is not None:
            # the sum by the count and not the mean, which is NaN where no token of a batch is masked
            loss = cross_entropy(prediction_logits.flatten(0, 1), labels.flatten(), reduction="sum")
            loss = loss / (labels != -100).sum().clamp(min=1)
            loss = loss + cross_entropy(sop_logits, sentence_order_label.flatten())
        return AlbertForPreTrainingOutput(
            loss=loss,
            prediction_logits=prediction_logits,
            sop_logits=sop_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class PalBertForSequenceClassification(PalBertPreTrainedModel, AlbertForSequenceClassification):
    """PAL-BERT with a classification or regression head on the pooled vector."""

    def __init__(self, config: PalBertConfig) -> None:
        AlbertPreTrainedModel.__init__(self, config)
        self.num_labels = _num_labels(config)
        self.albert = PalBertModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()


class PalBertForTokenClassification(PalBertPreTrainedModel, AlbertForTokenClassification):
    """PAL-BERT with a classification head on every token."""

    def __init__(self, config: PalBertConfig) -> None:
        AlbertPreTrainedModel.__init__(self, config)
        self.num_labels = _num_labels(config)
        self.albert = PalBertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()


class PalBertForMultipleChoice(PalBertPreTrainedModel, AlbertForMultipleChoice):
    """PAL-BERT with a head that scores each of several choices by its pooled vector."""

    def __init__(self, config: PalBertConfig) -> None:
        AlbertPreTrainedModel.__init__(self, config)
        self.albert = PalBertModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()


class PalBertForQuestionAnswering(PalBertPreTrainedModel, AlbertForQuestionAnswering):
    """PAL-BERT with a span head over the layer applications that ``config.qa_layers`` chooses."""

    def __init__(self, config: PalBertConfig) -> None:
        AlbertPreTrainedModel.__init__(self, config)
        self.num_labels = _num_labels(config)
        if self.num_labels != 2:
            raise ConfigurationError(
                f"num_labels={self.num_labels} is not allowed for question answering, which labels start and end;"
                " set num_labels=2."
            )
        self.albert = PalBertModel(config, add_pooling_layer=False)
        self.qa_pool = LayerPool(len(config.qa_layer_indices), config.qa_layer_pooling)
        self.qa_outputs = nn.Linear(self.qa_pool.output_size(config.hidden_size), self.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Score every token as start and as end of the answer.

        Args:
            input_ids: int64 ``[batch, length]``; or else ``inputs_embeds``.
            attention_mask: 1 for tokens, 0 for padding, ``[batch, length]``.
            token_type_ids: 0 for the question, 1 for the context, ``[batch, length]``.
            position_ids: int64 ``[batch, length]``, in ``[0, max_position_embeddings)``.
            inputs_embeds: ``[batch, length, embedding_size]``, in place of ``input_ids``.
            start_positions: Token that the answer starts at, int64 ``[batch]``. A position of ``length`` or more
                lies outside the input and adds nothing to the loss.
            end_positions: Token that the answer ends at (inclusive), likewise.
            **kwargs: ``output_hidden_states``, ``output_attentions``, ``return_dict`` and options of the attention.

        Returns:
            ``loss`` (scalar, if both positions are given), ``start_logits`` and ``end_logits`` (``[batch, length]``).
        """
        wanted = kwargs.pop("output_hidden_states", None)
        wanted = self.config.output_hidden_states if wanted is None else wanted
        pooled = self._pooled_states()
        outputs = self.albert(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            output_hidden_states=True if pooled else wanted,  # all: releases differ in how they select some
            **kwargs,
        )
        states = [outputs.hidden_states[index] for index in pooled] or [outputs.last_hidden_state]
        logits = self.qa_outputs(self.qa_pool(states))
        start_logits, end_logits = (part.squeeze(-1).contiguous() for part in logits.split(1, dim=-1))
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (_position_loss(start_logits, start_positions) + _position_loss(end_logits, end_positions)) / 2
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            hidden_states=outputs.hidden_states if wanted else None,
            attentions=outputs.attentions,
        )

    def _pooled_states(self) -> list[int]:
        """Indices into ``hidden_states`` (0 is the encoder's input) of the layers to pool; none for the last only."""
        layers = self.config.qa_layer_indices
        if layers == [self.config.num_hidden_layers - 1]:
            return []
        return [(layer + 1) * self.config.inner_group_num for layer in layers]


def _num_labels(config: PalBertConfig) -> int:
    return config.num_labels or 0  # None only before the configuration is complete


def _position_loss(logits: Tensor, positions: Tensor) -> Tensor:
    """Mean cross-entropy of ``logits``, ``[batch, length]``; positions outside of them are ignored."""
    length = logits.size(1)
    positions = positions.reshape(-1)  # gathered from several devices they come as [batch, 1]
    return cross_entropy(logits, positions.clamp(0, length), ignore_index=length)
