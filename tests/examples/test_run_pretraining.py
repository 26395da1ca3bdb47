"""Pre-training as a user runs it, on made-up text, and fine-tuning what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AlbertConfig,
    AlbertForPreTraining,
    AutoModelForPreTraining,
    AutoTokenizer,
    BertTokenizer,
    TrainingArguments,
)

import transformers_palbert as palbert
from tests.examples.conftest import leave_logging_to_pytest
from tests.examples.test_run_qa import SHAPE, options
from tests.pretraining.helpers import tokenizer, write
from tests.references.scripts import load_script
from transformers_palbert.training.arguments import ModelArguments
from transformers_palbert.training.option_parser import parse_arguments
from transformers_palbert.training.pretraining import PreTrainingArguments
from transformers_palbert.training.recipe_files import RECIPES
from transformers_palbert.training.time_limit import StopInTime

PRETRAINING = sorted(RECIPES.glob("pretrain_*"))


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    leave_logging_to_pytest(monkeypatch)
    names = ("run_qa", "run_pretraining")
    return SimpleNamespace(**{name: load_script(f"examples/{name}.py").main for name in names})


@pytest.fixture
def vocabulary() -> str:
    words = tokenizer().get_vocab()
    Path("vocab.txt").write_text("\n".join(sorted(words, key=words.get)) + "\n", encoding="utf-8")
    return "vocab.txt"


def flags(output: str, *switches: str, **more: Any) -> list[str]:
    values = {
        "tokenizer_name": "vocab.txt",
        "corpus_dir": "tokens",
        "config_overrides": SHAPE + ",hidden_dropout_prob=0.1",
        "max_seq_length": 40,
        "eval_documents": 8,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "max_steps": 12,
        "logging_steps": 4,
        "save_steps": 6,
        "report_to": "none",
        "disable_tqdm": True,
        "output_dir": output,
        **more,
    }
    return [*(part for key, value in values.items() for part in (f"--{key}", str(value))), "--use_cpu", *switches]


@pytest.fixture
def end_time_at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the time of a run be over at a step of it."""

    def end(step: int) -> None:
        steps = iter(range(1, 1000))
        monkeypatch.setattr("transformers_palbert.training.time_limit._any_process", lambda *_: next(steps) == step)

    return end


@pytest.mark.usefixtures("vocabulary")
def test_prepared_pretrained_and_fine_tuned(scripts: Any) -> None:
    row = {"id": "1", "question": "我们在了？", "context": "我们在北京。" * 9, "answers": ["北京"]}
    Path("train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    data = ["--train_file", write("a.txt", 60), "--qa_train_file", "train.jsonl", "--masked_words", "jieba"]
    facts = scripts.run_pretraining(flags("out", "--prepare", *data))
    assert facts["documents"] == 61
    assert not Path("out").exists()
    metrics = scripts.run_pretraining(
        flags("out", "--do_train", "--do_eval", bf16=True, gradient_accumulation_steps=2, max_ngram=1)
    )
    assert {"eval_mlm_loss", "eval_mlm_accuracy", "eval_sop_loss", "eval_sop_accuracy"} <= metrics.keys()
    assert isinstance(AutoModelForPreTraining.from_pretrained("out"), palbert.PalBertForPreTraining)
    assert AutoTokenizer.from_pretrained("out").get_vocab() == BertTokenizer(vocab="out/vocab.txt").get_vocab()
    _, loading = AlbertForPreTraining.from_pretrained("out", output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))

    files = {"train": "train.jsonl", "dev": "train.jsonl", "vocab": "vocab.txt"}
    tuned = scripts.run_qa(options(files, "tuned", model_name_or_path="out", max_steps=1, learning_rate=0.0))
    assert "eval_f1" in tuned
    before, after = load_file("out/model.safetensors"), load_file("tuned/model.safetensors")
    encoder = [name for name in after if name.startswith("albert.")]
    assert len(encoder) > 10
    assert all(torch.equal(before[name], after[name]) for name in encoder)  # what was learnt is where it starts


@pytest.mark.usefixtures("vocabulary")
@pytest.mark.parametrize("stop", [3, 17])
def test_a_run_in_pieces_ends_like_an_uninterrupted_one(stop: int, scripts: Any, end_time_at: Any) -> None:
    """An epoch has 13 steps, so that the second stop is in the second epoch."""
    data = ["--train_file", write("a.txt", 60), "--do_train"]
    pieces = flags("pieces", *data, "--do_eval", num_train_epochs=2, max_steps=-1, max_seconds=1000)
    scripts.run_pretraining(flags("whole", *data, num_train_epochs=2, max_steps=-1))
    end_time_at(stop)
    scripts.run_pretraining(pieces)
    assert Path(f"pieces/checkpoint-{stop}").is_dir()
    assert not Path("pieces/eval_results.json").exists()  # that is for the end
    assert Path("pieces/model.safetensors").read_bytes() != Path("whole/model.safetensors").read_bytes()
    scripts.run_pretraining(pieces)
    assert Path("pieces/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    assert Path("pieces/eval_results.json").exists()
    state = json.loads(Path("pieces/trainer_state.json").read_text())
    assert state["global_step"] == state["max_steps"] == 26


@pytest.mark.usefixtures("vocabulary")
def test_pretraining_goes_on_from_an_albert_checkpoint(scripts: Any) -> None:
    config = AlbertConfig(
        vocab_size=len(tokenizer()), embedding_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    AlbertForPreTraining(config).save_pretrained("albert")
    arguments = flags("out", "--train_file", write("a.txt", 40), "--do_train", model_name_or_path="albert",
                      max_steps=1, learning_rate=0.0)  # fmt: skip
    position = arguments.index("--config_overrides")
    del arguments[position : position + 2]
    scripts.run_pretraining(arguments)
    before, after = load_file("albert/model.safetensors"), load_file("out/model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.usefixtures("vocabulary")
def test_bad_arguments_are_explained(scripts: Any) -> None:
    write("a.txt", 40)
    Path("bert").mkdir()
    Path("bert/config.json").write_text('{"model_type": "bert"}')
    for arguments, message in (
        (flags("out", "--train_file", "a.txt"), "There is nothing to do"),
        (flags("out", "--do_train"), "tokens holds no tokenized corpus"),
        (flags("out", "--do_train", "--push_logs"), "push_logs has nothing to add to without --push_to_hub"),
        (
            flags("out", "--train_file", "a.txt", "--do_train", max_seq_length=513),
            "more than the model's 512 positions",
        ),
        (["--config_name", "bert", "--output_dir", "out", "--do_train", "--use_cpu"], "this is a bert"),
        (flags("out", "--do_train", max_seconds=0), "max_seconds=0.0 is not allowed"),
    ):
        with pytest.raises(palbert.PalBertError, match=message):
            scripts.run_pretraining(arguments)


@pytest.mark.parametrize("recipe", PRETRAINING, ids=lambda path: path.name)
def test_the_recipes_parse(recipe: Path) -> None:
    argv = [str(recipe), "--bf16", "false", "--use_cpu", "true"]  # as on a machine without a GPU
    model, data, training = parse_arguments((ModelArguments, PreTrainingArguments, TrainingArguments), argv)
    assert model.config_overrides
    assert isinstance(data.train_file, list)
    assert training.do_train
    assert training.output_dir.startswith("outputs/")
    assert data.max_seconds is None or StopInTime(data.max_seconds)


def test_there_are_recipes() -> None:
    assert PRETRAINING


def test_help_names_the_options(scripts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scripts.run_pretraining(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--masked_words" in text
    assert "run_qa.py --model_name_or_path" in text
