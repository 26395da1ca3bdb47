"""Learn from a teacher: a model whose logits, hidden states and attention a student imitates while it is fine-tuned.

    model = with_teacher(model, teacher, temperature=2.0, weight=0.5, hidden_states=1.0)
    Trainer(model, args, train_dataset=…, callbacks=[MovementPruningCallback(0.7), DistillationCallback()]).train()

The teacher reads the same batches inside the student's forward pass, and what it adds to the loss comes back in
``outputs.loss``. So it works in any Trainer and any loop, together with pruning and after it; on several GPUs in a
process for each (DDP), not under ``nn.DataParallel``. It is never saved with the student, never trained, and not asked
while the student is evaluated. :class:`DistillationCallback` logs the parts of the loss, and lets a run be gone on with
whose student is not as wide as its teacher. :func:`cache_teacher` keeps the teacher's logits on disk, so that it need
not run again, nor be in memory.

===================  =================================================================================================
module               what is in it
===================  =================================================================================================
``losses``           the formulas, on logits, hidden states and attention
``layer_maps``       which layer imitates which
``recording``        what passes through the layers of a model
``projection``       between hidden states of different width
``batches``          how much rows and batches count
``logits``           the formula for each kind of model that has logits
``settings``         what is learnt, and how much of the loss it is
``lesson``           all of that inside a student's forward pass
``teaching``         :func:`with_teacher`, :func:`without_teacher`
``callback``         logs, and runs that go on
``cached_logits``    a teacher's logits beside the training data
``vocabularies``     whether two tokenizers mean the same by their ids
===================  =================================================================================================

Sources: Hinton et al. 2015 (arXiv 1503.02531) for logits, applied to start and end as in McCarley et al. 2019 (arXiv
1910.06360); Jiao et al. 2020, "TinyBERT" (arXiv 1909.10351) for layers; Kurtic et al. 2023, "ZipLM" (arXiv 2302.04089)
for real tokens alone.
"""

from __future__ import annotations

from .cached_logits import TeacherLogitsCollator, cache_teacher
from .callback import DistillationCallback
from .layer_maps import parse_layer_map, uniform_layer_map
from .settings import DistillationConfig
from .teaching import with_teacher, without_teacher
from .vocabularies import require_same_tokens

__all__ = [
    "DistillationCallback",
    "DistillationConfig",
    "TeacherLogitsCollator",
    "cache_teacher",
    "parse_layer_map",
    "require_same_tokens",
    "uniform_layer_map",
    "with_teacher",
    "without_teacher",
]
