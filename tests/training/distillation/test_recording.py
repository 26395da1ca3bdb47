from __future__ import annotations

from tests.pruning.helpers import qa_batch, tiny_model
from transformers_palbert.training.distillation.recording import Recording


def test_layers_of_one_group_have_one_gradient_scale() -> None:
    model = tiny_model("palbert", layers=2, inner_group_num=2, layer_lr_decay=0.5)
    record = Recording(model, attention=True)
    record.start()
    model(**qa_batch())
    record.stop()
    assert [layer.gradient_scale for layer in record.layers] == [0.5, 0.5, 1.0, 1.0]
