"""From the options of a command line to a student with its teacher."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertTokenizer

from tests.pruning.helpers import tiny_model
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.training.distillation.projection import PROJECTION_FILE
from transformers_palbert.training.question_answering import evaluate, parse, prepare, train

CONTEXT = "李明出生于北京，后来搬了家，住在上海。"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(CONTEXT + "哪里？"))]


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions, a student, and a wider teacher with the same tokenizer."""
    monkeypatch.setattr("transformers_palbert.training.question_answering.set_up_logging", lambda _: None)
    rows = [
        {
            "id": str(number),
            "question": "李明出生于哪里？",
            "context": CONTEXT[number % 3 :],
            "answers": {"text": ["北京"], "answer_start": [CONTEXT.index("北京") - number % 3]},
        }
        for number in range(8)
    ]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    Path("train.jsonl").write_text(lines + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})
    sizes = {"vocab_size": len(WORDS), "max_position_embeddings": 64}
    teacher = tiny_model("bert", seed=1, hidden_size=24, num_attention_heads=3, layers=4, **sizes)
    for folder, model in (("student", tiny_model("bert", **sizes)), ("teacher", teacher)):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def command(*more: str, output: str = "out") -> Any:
    return parse([
        "--model_name_or_path", "student", "--train_file", "train.jsonl", "--validation_file", "train.jsonl",
        "--max_seq_length", "48", "--doc_stride", "8", "--per_device_train_batch_size", "4", "--max_steps", "4",
        "--logging_steps", "1", "--report_to", "none", "--use_cpu", "--do_train", "--do_eval", "--disable_tqdm", "True",
        "--save_steps", "2", "--output_dir", output, *more,
    ])  # fmt: skip


def logged(run: Any) -> list[dict[str, float]]:
    return [
        {name: value for name, value in entry.items() if name.startswith("loss")}
        for entry in run.trainer.state.log_history
        if "loss" in entry
    ]


def test_a_teacher_whose_embeddings_are_padded() -> None:
    """Its tokenizer is the student's, and that is what is compared."""
    padded = tiny_model("bert", seed=1, vocab_size=len(WORDS) + 8, max_position_embeddings=64)
    padded.save_pretrained("teacher")
    run = prepare(command("--teacher_name_or_path", "teacher", "--max_steps", "1"))
    train(run)
    assert len(logged(run)[0]) > 1  # the loss, and its parts


def test_every_part_of_a_teacher() -> None:
    run = prepare(
        command(
            "--teacher_name_or_path", "teacher", "--distillation_weight", "0.25", "--distillation_temperature", "4",
            "--distill_hidden_states", "0.5", "--distill_attention", "2", "--distill_attention_loss", "kl",
            "--distillation_layer_map", "1:2,-1:-1", "--target_sparsity", "0.5",
        )
    )  # fmt: skip
    train(run)
    weights = {"task": 0.75, "logits": 0.25, "hidden": 0.5, "attention": 2.0}
    for entry in logged(run):
        assert entry["loss"] == pytest.approx(sum(w * entry[f"loss_{name}"] for name, w in weights.items()), rel=1e-5)
    assert Path("out/checkpoint-2", PROJECTION_FILE).is_file()
    assert not Path("out", PROJECTION_FILE).exists()
    assert "eval_f1" in evaluate(run)


def test_a_cached_teacher_teaches_the_same_and_runs_once() -> None:
    logs, ends = [], []
    teacher = ("--teacher_name_or_path", "teacher")
    for more in ((), ("--teacher_cache", "cache"), ("--teacher_cache", "cache")):
        run = prepare(command(*teacher, *more, output=f"out{len(logs)}"))
        written = {file.name: file.stat().st_mtime_ns for file in Path().glob("cache/*")}
        train(run)
        logs.append(logged(run))
        ends.append((run.model, written))
        assert "eval_f1" in evaluate(run)
    assert logs[1] == logs[2]
    assert len(logs[0]) == 4
    for plain, cached in zip(*logs[:2], strict=True):
        assert cached == pytest.approx(plain, rel=1e-4)
    assert len(ends[1][1]) == 1
    assert ends[2][1] == ends[1][1]
    for name, tensor in ends[1][0].state_dict().items():
        assert torch.equal(ends[2][0].state_dict()[name], tensor)


@pytest.mark.parametrize(("more", "message"), [
    (["--distillation_weight", "0.3", "--teacher_cache", "cache"],
     "--distillation_weight, --teacher_cache changes nothing without a teacher"),
    (["--teacher_name_or_path", "teacher", "--distillation_weight", "0"], "0 only where"),
    (["--teacher_name_or_path", "teacher", "--distillation_layer_map", "1:1"], "layer_map changes nothing"),
    (["--teacher_name_or_path", "teacher", "--distillation_layer_map", "1-1", "--distill_attention", "1"],
     "1:2,2:4,3:6"),
    (["--teacher_name_or_path", "teacher", "--distill_attention", "1", "--distill_attention_loss", "l1"],
     "--distill_attention_loss: invalid choice: 'l1' (choose from "),
    (["--teacher_name_or_path", "teacher", "--teacher_cache", "cache", "--distill_hidden_states", "1"],
     "there are logits alone"),
])  # fmt: skip
def test_options_that_are_refused(more: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        prepare(command(*more))


def test_a_teacher_that_reads_other_tokens() -> None:
    words = [*WORDS[:5], *reversed(WORDS[5:])]
    BertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained("teacher")
    with pytest.raises(ConfigurationError, match="ids do not mean the same token to student and teacher: 5 is"):
        prepare(command("--teacher_name_or_path", "teacher"))


def test_a_teacher_without_a_tokenizer_is_taken_at_its_size(caplog: pytest.LogCaptureFixture) -> None:
    for file in Path("teacher").glob("*token*"):
        file.unlink()
    with caplog.at_level("WARNING", logger="transformers_palbert"):
        prepare(command("--teacher_name_or_path", "teacher"))
    assert "teacher has no tokenizer" in caplog.text
