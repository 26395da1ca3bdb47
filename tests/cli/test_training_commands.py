"""The commands that train: each hands its command line on to a parser of its own, and does what the script does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from transformers_palbert.training.recipe_files import RECIPES

COMMANDS = {
    "train": ("--target_sparsity", "palbert train paper_cmrc2018.yaml"),
    "pretrain": ("--masked_words", "palbert pretrain --train_file corpus.txt.xz"),
    "reproduce": ("--scale", "palbert reproduce table7 --scale small"),
    "tune": ("--trials", "palbert tune small_cmrc2018.yaml"),
}
SHAPE = "hidden_size=16,embedding_size=8,num_hidden_layers=1,num_attention_heads=2,intermediate_size=32"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_options_and_teaches(palbert, command):
    result = palbert(command, "--help")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    option, example = COMMANDS[command]
    assert text.startswith(f"usage: palbert {command}")
    assert option in text
    assert example in text


def test_train_takes_a_recipe_of_the_package_by_its_name(palbert, answerable, saved_model, monkeypatch):
    monkeypatch.setattr("transformers_palbert.training.question_answering.set_up_logging", lambda _: None)
    result = palbert(
        "train", "small_cmrc2018.yaml", "--model_name_or_path", saved_model, "--train_file", answerable,
        "--validation_file", answerable, "--max_steps", "2", "--target_sparsity=0.5", "--output_dir", "out",
        "--disable_tqdm", "true", "--bf16", "false",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(Path("out/config.json").read_text())["pruning"]["target_sparsity"] == 0.5
    assert "eval_f1" in json.loads(Path("out/eval_results.json").read_text())


def test_pretrain_reads_text(palbert, saved_model, monkeypatch):
    monkeypatch.setattr("transformers_palbert.training.pretraining_run.set_up_logging", lambda _: None)
    Path("corpus.txt").write_text("红楼梦的作者是曹雪芹。\n写于清代。\n\n" * 20, encoding="utf-8")
    result = palbert(
        "pretrain", "--train_file", "corpus.txt", "--tokenizer_name", saved_model, "--config_overrides", SHAPE,
        "--corpus_dir", "tokens", "--max_seq_length", "32", "--eval_documents", "2", "--max_steps", "1", "--do_train",
        "--output_dir", "out", "--use_cpu", "--report_to", "none", "--disable_tqdm", "true",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "pre-trained" in Path("out/README.md").read_text(encoding="utf-8")


def test_reproduce_finds_the_grids_in_any_folder(palbert):
    result = palbert("reproduce", "--list")
    assert result.exit_code == 0
    assert "table7" in result.stdout
    for dry_run in ("--dry-run", "--dry_run"):
        assert palbert("reproduce", "table7", "--scale", "small", dry_run).exit_code == 0


def test_what_is_wrong_is_one_line(palbert):
    for arguments, message in (
        (("train", "nothing.yaml"), f"no recipe 'nothing.yaml': no such file, and the package has {sorted_names()}"),
        (("train", "--output_dir", "out", "--use_cpu"), "Training from scratch needs --tokenizer_name"),
        (("pretrain", "--output_dir", "out", "--use_cpu"), "There is nothing to do"),
        (("reproduce", "table5"), "no experiment 'table5'"),
        (("tune", "--backend", "hyperopt", "--use_cpu"), "backend='hyperopt' must be optuna or ray"),
    ):
        result = palbert(*arguments)
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["train", "pretrain", "tune"])
def test_nothing_at_all_is_answered_with_an_example(palbert, command):
    result = palbert(command)
    assert result.exit_code == 1
    said = result.stderr
    assert f"as in: palbert {command} " in said
    assert f"All options: palbert {command} --help" in said


def sorted_names() -> str:
    return ", ".join(sorted(file.name for file in RECIPES.glob("*.yaml")))


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "transformers_palbert", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("transformers-palbert")
