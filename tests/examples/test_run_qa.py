"""The two example scripts, run as a user runs them, on a small set of generated facts."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AlbertForQuestionAnswering,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    pipeline,
)

import transformers_palbert as palbert
from tests.examples.conftest import PEOPLE, PLACES
from tests.references.scripts import load_script
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.sizes import inspect_checkpoint

EXAMPLES = Path(__file__).parents[2] / "examples"
SHAPE = (
    "hidden_size=32,embedding_size=16,num_hidden_layers=2,num_attention_heads=2,intermediate_size=64,hidden_act=mish"
)


def options(files: dict[str, str], output: str, **more: Any) -> list[str]:
    values = {
        "train_file": files["train"],
        "validation_file": files["dev"],
        "metric": "cmrc2018",
        "max_seq_length": 48,
        "doc_stride": 8,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "max_steps": 12,
        "logging_steps": 4,
        "report_to": "none",
        "output_dir": output,
        **more,
    }
    flags = [part for key, value in values.items() for part in (f"--{key}", str(value))]
    return [*flags, "--use_cpu", "--do_train", "--do_eval", "--disable_tqdm", "True"]


def test_from_scratch_pruned_saved_and_asked(files: dict[str, str], run_qa: Any) -> None:
    metrics = run_qa(
        options(
            files, "out", tokenizer_name=files["vocab"], config_overrides=SHAPE, target_sparsity=0.7, bf16=True,
            gradient_accumulation_steps=2, layer_lr_decay=0.9, qa_layers="0,1", qa_layer_pooling="mean",
            further_metrics="palbert_qa,squad",
        )
    )  # fmt: skip
    assert {"eval_f1", "eval_em", "eval_density_encoder"} <= set(metrics)
    assert metrics["eval_total"] == 12
    answers = json.loads(Path("out/eval_predictions.json").read_text(encoding="utf-8"))
    assert set(answers) == {str(number) for number in range(24, 36)}
    written = json.loads(Path("out/all_results.json").read_text())
    dev = palbert.load_qa_dataset(files["dev"])
    assert written["eval_palbert_qa_accuracy"] == palbert.compute_metric("palbert_qa", answers, dev)["accuracy"]
    assert written["eval_squad_f1"] == metrics["eval_squad_f1"] == palbert.compute_metric("squad", answers, dev)["f1"]
    report = inspect_checkpoint("out")
    assert report.encoder.nonzero == round(0.3 * report.encoder.numel)
    model = AutoModelForQuestionAnswering.from_pretrained("out")
    assert isinstance(model, palbert.PalBertForQuestionAnswering)
    assert (model.config.layer_lr_decay, model.config.hidden_act) == (0.9, "mish")
    asked = pipeline("question-answering", model=model, tokenizer=AutoTokenizer.from_pretrained("out"))(
        question="李明出生于哪里？", context="李明出生于北京。"
    )
    assert asked["answer"] == "李明出生于北京。"[asked["start"] : asked["end"]]


def test_a_second_run_goes_on_and_ends_like_an_uninterrupted_one(files: dict[str, str], run_qa: Any) -> None:
    settings = {"tokenizer_name": files["vocab"], "config_overrides": SHAPE, "target_sparsity": 0.5}
    run_qa(options(files, "whole", save_steps=6, **settings))
    assert Path("whole/checkpoint-6").is_dir()
    Path("resumed").mkdir()
    Path("whole/checkpoint-6").rename("resumed/checkpoint-6")
    run_qa(options(files, "resumed", save_steps=6, **settings))
    assert Path("resumed/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()


def test_a_checkpoint_that_was_cut_off_is_passed_over(files: dict[str, str], run_qa: Any) -> None:
    settings = {"tokenizer_name": files["vocab"], "config_overrides": SHAPE, "target_sparsity": 0.5}
    run_qa(options(files, "whole", save_steps=4, **settings))
    Path("resumed").mkdir()
    for name in ("checkpoint-4", "checkpoint-8"):
        Path("whole", name).rename(Path("resumed", name))
    Path("resumed/checkpoint-8/trainer_state.json").unlink()
    run_qa(options(files, "resumed", save_steps=4, **settings))
    assert Path("resumed/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    assert Path("resumed/checkpoint-8/trainer_state.json").is_file()  # written anew


def test_packed_exported_and_pruned_further(files: dict[str, str], run_qa: Any) -> None:
    settings = {"tokenizer_name": files["vocab"], "config_overrides": SHAPE, "target_sparsity": 0.5}
    run_qa(options(files, "packed", sparse_values="float16", export_stock="stock", **settings))
    packed, stock = (json.loads(Path(name, "config.json").read_text()) for name in ("packed", "stock"))
    assert packed["quantization_config"]["values"] == "float16"
    assert (stock["model_type"], stock["architectures"]) == ("albert", ["AlbertForQuestionAnswering"])
    assert Path("stock/tokenizer.json").is_file()
    final = palbert.PalBertForQuestionAnswering.from_pretrained("packed").state_dict()
    state = AlbertForQuestionAnswering.from_pretrained("stock").state_dict()
    assert all(torch.equal(tensor, final[name]) for name, tensor in state.items())
    run_qa(options(files, "further", model_name_or_path="packed", target_sparsity=0.8, layer_lr_decay=0.9))
    assert inspect_checkpoint("further").encoder.density == pytest.approx(0.2, abs=1e-3)


def test_an_architecture_that_is_not_stock_is_refused_before_training(files: dict[str, str], run_qa: Any) -> None:
    settings = {"tokenizer_name": files["vocab"], "config_overrides": SHAPE, "qa_layers": "0"}
    with pytest.raises(ConfigurationError, match=r"qa_layers=\[0\] has no place in stock ALBERT"):
        run_qa(options(files, "out", export_stock="stock", **settings))
    assert not Path("out").exists()


def test_albert_checkpoint_takes_palbert_options_and_a_recipe(files: dict[str, str], run_qa: Any) -> None:
    run_qa(options(files, "base", tokenizer_name=files["vocab"], config_overrides=SHAPE, max_steps=2))
    Path("recipe.yaml").write_text("target_sparsity: 0.7\npruning_method: magnitude\nlearning_rate: 1e-4\n")
    arguments = options(files, "tuned", model_name_or_path="base", qa_layers="0,1", qa_layer_pooling="weighted_sum")
    arguments.remove("--learning_rate")
    arguments.remove("0.001")
    metrics = run_qa(["recipe.yaml", *arguments])
    assert metrics["eval_density_encoder"] == pytest.approx(0.3, abs=1e-3)
    assert "qa_pool.layer_weights" in palbert.PalBertForQuestionAnswering.from_pretrained("tuned").state_dict()


def test_from_scratch_first_on_cloze_questions(files: dict[str, str], run_qa: Any) -> None:
    context = "".join(dict.fromkeys(character for person in PEOPLE for place in PLACES for character in person + place))
    row = {"id": "0", "question": "谁?", "context": context * 5, "answers": {"text": ["李"], "answer_start": [0]}}
    Path("long.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    settings = {"tokenizer_name": files["vocab"], "config_overrides": SHAPE, "lookup_initialization": True}
    arguments = options(files, "cloze", **settings, train_file="long.jsonl", cloze_questions=40, max_seq_length=160)
    run_qa([*arguments, "--num_train_epochs", "1", "--max_steps", "-1"])
    assert json.loads(Path("cloze/trainer_state.json").read_text())["global_step"] == 10  # 40 questions, 4 a step
    state = palbert.PalBertForQuestionAnswering.from_pretrained("cloze").state_dict()
    query, key = (state[f"albert.encoder.albert_layer_groups.0.albert_layers.0.attention.{part}.weight"].flatten()
                  for part in ("query", "key"))  # fmt: skip
    assert torch.corrcoef(torch.stack([query, key]))[0, 1] > 0.9  # as initialize_for_lookup leaves them, nearly


def test_predict_writes_answers(files: dict[str, str], run_qa: Any) -> None:
    run_qa(options(files, "base", tokenizer_name=files["vocab"], config_overrides=SHAPE, max_steps=2))
    run_qa(
        ["--model_name_or_path", "base", "--test_file", files["dev"], "--do_predict", "--output_dir", "answers",
         "--use_cpu", "--report_to", "none", "--max_seq_length", "48", "--doc_stride", "8", "--metric", "cmrc2018"]
    )  # fmt: skip
    assert len(json.loads(Path("answers/test_predictions.json").read_text(encoding="utf-8"))) == 12


def test_answers_as_csv(files: dict[str, str], run_qa: Any) -> None:
    run_qa(
        options(files, "base", tokenizer_name=files["vocab"], config_overrides=SHAPE, max_steps=1,
                predictions_csv="base/csv/eval.csv")
    )  # fmt: skip
    run_qa(
        ["--model_name_or_path", "base", "--test_file", files["dev"], "--do_predict", "--output_dir", "answers",
         "--use_cpu", "--report_to", "none", "--max_seq_length", "48", "--doc_stride", "8", "--metric", "cmrc2018",
         "--predictions_csv", "test.csv"]
    )  # fmt: skip
    for file, source in (
        ("base/csv/eval.csv", "base/eval_predictions.json"),
        ("test.csv", "answers/test_predictions.json"),
    ):
        answers = json.loads(Path(source).read_text(encoding="utf-8"))
        with Path(file).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))
        assert rows == [["ID", "Answer"], *([str(number), answers[str(number)]] for number in range(24, 36))]


def test_formulas_are_escaped_and_a_null_threshold_is_chosen(files: dict[str, str], run_qa: Any) -> None:
    """Every answer begins with a sign of equality, since the contexts hold nothing else."""
    rows = [
        {"id": f"={n}", "title": f"T{n}", "question": "?", "context": "=" * (n + 3), "answers": ["=="] * (n % 2)}
        for n in range(6)
    ]
    Path("signs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    metrics = run_qa(
        options(files, "out", tokenizer_name=files["vocab"], config_overrides=SHAPE, max_steps=1, metric="squad_v2",
                validation_file="signs.jsonl", version_2_with_negative=True, null_score_diff_threshold=1e6,
                null_threshold_fraction=0.5, predictions_csv="eval.csv", escape_formulas=True)
    )  # fmt: skip
    with Path("eval.csv").open(encoding="utf-8", newline="") as stream:
        assert [[cell[:2] for cell in row] for row in csv.reader(stream)] == [["ID", "An"], *[["'=", "'="]] * 6]
    assert metrics["eval_held_out_total"] == metrics["eval_held_out_chosen_total"] == 3
    assert -100 < metrics["eval_chosen_null_threshold"] < 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--do_train"], "tokenizer_name"),
        (["--do_train", "--escape_formulas"], "escape_formulas has nothing to escape without --predictions_csv"),
        (["--do_train", "--push_logs"], "push_logs has nothing to add to without --push_to_hub"),
        (["--do_train", "--predictions_csv", "answers.csv"], "predictions_csv has nothing to write"),
        (["--do_eval", "--predictions_csv", "nowhere/answers.csv"], "nowhere is not a folder"),
        (["--model_name_or_path", "bert", "--qa_layers", "0,1"], "bert"),
        (["--config_overrides", "hidden_size"], "must look like"),
    ],
)
def test_bad_arguments_are_explained(run_qa: Any, arguments: list[str], message: str) -> None:
    Path("bert").mkdir()
    Path("bert/config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigurationError, match=message):
        run_qa([*arguments, "--output_dir", "out", "--use_cpu"])


def test_the_stock_script_needs_but_two_lines(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    script = (EXAMPLES / "run_qa_stock.py").read_text(encoding="utf-8")
    assert sum("palbert" in line for line in script.splitlines()) == 2
    tokenizer = BertTokenizer(vocab=files["vocab"])
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    AutoModelForQuestionAnswering.from_config(config).save_pretrained("base")
    tokenizer.save_pretrained("base")
    monkeypatch.setattr(
        "sys.argv",
        ["run_qa_stock.py", "--model", "base", "--train", files["train"], "--output", "out", "--epochs", "2",
         "--max-length", "48", "--stride", "8", "--cpu"],
    )  # fmt: skip
    load_script("examples/run_qa_stock.py").main()
    report = inspect_checkpoint("out")
    assert report.encoder.nonzero == round(0.3 * report.encoder.numel)


@pytest.mark.parametrize("script", ["run_qa", "run_pretraining", "tune"])
def test_scripts_end_as_the_commands_do(script: str) -> None:
    text = (EXAMPLES / f"{script}.py").read_text(encoding="utf-8")
    assert text.endswith("    sys.exit(run_script(main, sys.argv[1:]))\n")


def test_a_typing_error_is_one_line_without_a_traceback() -> None:
    command = [sys.executable, str(EXAMPLES / "run_qa.py"), "--learning_rte", "1", "--use_cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: There is no option --learning_rte. Did you mean --learning_rate? See --help."
    )
    assert "Traceback" not in done.stderr
