"""Extractive question answering without pre-training, word by word: a BiLSTM reader and a TextCNN reader.

The two models are one reader with two encoders, and what is compared is the encoder. With ``e`` the words of question
and context (:class:`~.encoders.WordEmbeddings`) and ``f`` the features of their overlap
(:func:`~.inputs.match_features`):

1. *Input*: context ``ReLU(W [e(p_i); a_i; f(p_i)] + b)`` with ``a_i`` the aligned question
   (:class:`~.attention.AlignedQuestion`), question ``ReLU(W' [e(q_j); f(q_j)] + b')``, after the Document Reader (Chen
   et al. 2017, arXiv 1704.00051).
2. *Encoder*: BiLSTM or TextCNN, one with the same weights for both parts.
3. *Meeting*: attention flow in both directions (Seo et al. 2016, BiDAF, arXiv 1611.01603).
4. *Second encoder* over ``ReLU(W'' [flow; question summary; f] + b'')``, the modeling layer of BiDAF.
5. *Pointers* to the first and the last word of the answer.

They take what every question-answering model of transformers takes, ``[CLS] question [SEP] context [SEP]`` with token
types, and return logits for every input position: very low ones outside the context. ``[CLS]`` stands in front of the
context, as the place that an absent answer points to.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from .attention import AlignedQuestion, AttentionFlow, SpanPointer
from .configuration import BiLstmConfig, TextCnnConfig, WordReaderConfig
from .encoders import AttentiveSummary, BiLstm, MaximumSummary, TextCnn, TimeDropout, WordEmbeddings
from .inputs import NUM_MATCH_FEATURES, Part, match_features, split_inputs, spread_logits

__all__ = ["BiLstmForQuestionAnswering", "TextCnnForQuestionAnswering", "WordReaderForQuestionAnswering"]


class WordReaderForQuestionAnswering(PreTrainedModel):
    """The reader of this module's docstring, without an encoder of its own: use one of its two subclasses."""

    config: WordReaderConfig
    config_class = WordReaderConfig
    base_model_prefix = "reader"
    encoder_class: type[BiLstm] | type[TextCnn]
    summary_class: type[AttentiveSummary] | type[MaximumSummary]

    def __init__(self, config: WordReaderConfig) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.embeddings = WordEmbeddings(config)
        self.aligned_question = AlignedQuestion(size)
        self.context_input = nn.Linear(2 * size + NUM_MATCH_FEATURES, size)
        self.question_input = nn.Linear(size + NUM_MATCH_FEATURES, size)
        self.encoder = self.encoder_class(config)  # type: ignore[arg-type]
        self.question_summary = self.summary_class(config)
        self.attention_flow = AttentionFlow(size)
        self.meeting = nn.Linear(5 * size + NUM_MATCH_FEATURES, size)
        self.second_encoder = self.encoder_class(config)  # type: ignore[arg-type]
        self.qa_outputs = SpanPointer(size)
        self.dropout = TimeDropout(config.dropout)
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; word vectors that are not to learn stay frozen."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.get_input_embeddings().weight.requires_grad_(model.config.train_word_vectors)
        return loaded

    def get_input_embeddings(self) -> nn.Embedding:
        """The layer that holds the word vectors, as every model of transformers returns its embeddings."""
        return self.embeddings.word_vectors

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput | tuple[Tensor, ...]:
        """Logits of the answer's first and last word, and the loss where labels are given.

        Args:
            input_ids: Words, int64 of shape ``(rows, length)``.
            attention_mask: 1 for words, 0 for padding, likewise; by default what is not the padding word.
            token_type_ids: 0 for the question, 1 for the context; by default 1 behind the first ``[SEP]``.
            start_positions: First word of the answer, int64 of shape ``(rows,)``; the position of ``[CLS]`` for none.
            end_positions: Last word of the answer, likewise.
            return_dict: Whether to return an output object (the config's choice by default) or a tuple.
            **kwargs: Ignored.

        Returns:
            ``loss`` (mean cross-entropy of start and end), ``start_logits`` and ``end_logits`` of shape
            ``(rows, length)``.
        """
        if attention_mask is None:
            attention_mask = input_ids.ne(self.config.pad_token_id)  # type: ignore[arg-type]
        if token_type_ids is None:
            separators = input_ids.eq(self.config.sep_token_id).int()  # type: ignore[arg-type]
            token_type_ids = (separators.cumsum(1) - separators).clamp(max=1)
        ids = {"cls_token_id": self.config.cls_token_id, "sep_token_id": self.config.sep_token_id}
        question, context = split_inputs(input_ids, attention_mask, token_type_ids, **ids)  # type: ignore[arg-type]
        logits = self._read(self.embeddings(input_ids), question, context)
        start, end = (spread_logits(part.float(), context, input_ids.shape[1]) for part in logits)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (_loss(start, start_positions) + _loss(end, end_positions)) / 2
        output = QuestionAnsweringModelOutput(loss=loss, start_logits=start, end_logits=end)
        as_output = self.config.return_dict if return_dict is None else return_dict
        return output if as_output else output.to_tuple()

    def _read(self, words: Tensor, question: Part, context: Part) -> tuple[Tensor, Tensor]:
        """Word vectors (rows, length, hidden_size) of the whole input to logits of the context's words."""
        characters = self.embeddings.characters.long()
        count = self.config.character_vocab_size
        found = match_features(context, question, characters, count).to(words.dtype)
        asked = match_features(question, context, characters, count).to(words.dtype)
        p, q = context.take(words), question.take(words)
        p = self.context_input(torch.cat([p, self.aligned_question(p, q, question.mask), found], dim=-1)).relu()
        q = self.question_input(torch.cat([q, asked], dim=-1)).relu()
        p = self.dropout(self.encoder(p, context.mask))
        q = self.dropout(self.encoder(q, question.mask))
        summary = self.question_summary(q, question.mask)
        flow = self.attention_flow(p, context.mask, q, question.mask)
        met = self.meeting(torch.cat([flow, summary.expand_as(p), found], dim=-1)).relu()
        states = self.dropout(self.second_encoder(met, context.mask))
        return self.qa_outputs(states, context.mask, summary)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Orthogonal recurrent weights and a forget gate that starts open; else as usual for ReLU."""
        if isinstance(module, nn.LSTM):
            for name, weight in module.named_parameters():
                _init_lstm_weight(name, weight)
        elif isinstance(module, (nn.Linear, nn.Conv1d)):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=self.config.initializer_range)
            if module.padding_idx is not None:
                padded = module.weight.clone()
                padded[module.padding_idx] = 0.0
                init.copy_(module.weight, padded)  # which, unlike an assignment, leaves a loaded weight alone
        elif isinstance(module, WordEmbeddings):
            init.zeros_(module.characters)


def _init_lstm_weight(name: str, weight: Tensor) -> None:
    if name.startswith("weight_hh"):
        init.orthogonal_(weight)
    elif name.startswith("weight_ih"):
        init.xavier_uniform_(weight)
    else:
        bias = torch.zeros_like(weight)
        if name.startswith("bias_ih"):
            quarter = len(weight) // 4
            bias[quarter : 2 * quarter] = 1.0  # gates: input, forget, cell, output
        init.copy_(weight, bias)


def _loss(logits: Tensor, positions: Tensor) -> Tensor:
    """Cross-entropy; positions outside the input do not count, as in transformers."""
    length = logits.shape[1]
    return functional.cross_entropy(logits, positions.clamp(0, length), ignore_index=length)


class BiLstmForQuestionAnswering(WordReaderForQuestionAnswering):
    """The reader of this module with bidirectional LSTM encoders, as the Document Reader and BiDAF have them.

    Example:
        >>> model = BiLstmForQuestionAnswering(BiLstmConfig(vocab_size=100, hidden_size=8))
        >>> words = torch.tensor([[2, 17, 18, 3, 30, 17, 18, 31, 3]])
        >>> model(words).start_logits.shape
        torch.Size([1, 9])
    """

    config: BiLstmConfig
    config_class = BiLstmConfig
    encoder_class = BiLstm
    summary_class = AttentiveSummary


class TextCnnForQuestionAnswering(WordReaderForQuestionAnswering):
    """The reader of this module with the convolutions of TextCNN (Kim 2014, arXiv 1408.5882) as encoders.

    Each of the two encoders sees ``num_hidden_layers * (max(kernel_sizes) // 2)`` words to either side of a word.
    """

    config: TextCnnConfig
    config_class = TextCnnConfig
    encoder_class = TextCnn
    summary_class = MaximumSummary
