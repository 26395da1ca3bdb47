"""An exported model in the place of one of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from ..runtime.answering import exported_folder
from ..runtime.description import Description, read_description
from ..runtime.sessions import Session, open_session

__all__ = ["ExportedForQuestionAnswering"]


class ExportedForQuestionAnswering(nn.Module):
    """Takes and gives tensors as a question-answering model of transformers, and computes in its runtime, on the CPU.

    With it, all that asks a model (the pipeline, the commands, evaluations) can ask an exported one.

    Args:
        config: Configuration of the model that was exported.
        session: Its graph.
        description: What was exported.
        folder: Where it is.
    """

    def __init__(self, config: Any, session: Session, description: Description, folder: Path) -> None:
        super().__init__()
        self.config, self.session, self.description = config, session, description
        self.name_or_path = str(folder)
        self.device, self.dtype = torch.device("cpu"), torch.float32

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        revision: str | None = None,
        threads: int | None = None,
        bfloat16: bool = False,
        **_: Any,
    ) -> ExportedForQuestionAnswering:
        """Load a folder that ``palbert export`` wrote, or such a model from the Hub.

        Args:
            model: Folder, or name on the Hub.
            revision: Branch, tag or commit on the Hub.
            threads: How many threads a batch uses; by default all cores.
            bfloat16: Whether OpenVINO computes in bfloat16.

        Raises:
            StorageError: if there is no exported model, or it is damaged.
            MissingExtraError: if onnxruntime, or openvino, is not installed.
        """
        folder = exported_folder(model, revision)
        description = read_description(folder)
        config = AutoConfig.from_pretrained(folder)
        return cls(config, open_session(folder, description, threads, bfloat16=bfloat16), description, folder)

    def can_generate(self) -> bool:
        """False: it marks spans."""
        return False

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> QuestionAnsweringModelOutput:
        """Start and end logits, float32 ``(batch, tokens)``, for int64 inputs of that shape."""
        given = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids) if attention_mask is None else attention_mask,
            "token_type_ids": torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids,
        }
        found = self.session({name: tensor.cpu().numpy() for name, tensor in given.items()})
        start, end = torch.from_numpy(found).to(input_ids.device)
        return QuestionAnsweringModelOutput(start_logits=start, end_logits=end)
