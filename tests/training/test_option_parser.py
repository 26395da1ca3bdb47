"""The command line of training as people type it: typing errors, groups, choices, hyphens, and errors in one line."""

from __future__ import annotations

import re

import pytest
from transformers import TrainingArguments

from transformers_palbert.errors import ConfigurationError, DatasetFormatError
from transformers_palbert.pruning.scores import SCORES
from transformers_palbert.training.arguments import DataArguments, ModelArguments, PruningArguments
from transformers_palbert.training.option_parser import naming_options, parse_arguments, run_script
from transformers_palbert.training.pretraining import PreTrainingArguments
from transformers_palbert.training.run_arguments import RunArguments

TYPES = (ModelArguments, DataArguments, PruningArguments, TrainingArguments, RunArguments)


def parse(*argv: str) -> tuple:
    return parse_arguments(TYPES, ["--output_dir", "out", "--use_cpu", *argv], prog="palbert train")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--learning_rte", "1"], r"no option --learning_rte\. Did you mean --learning_rate\?"),
        (["--max-seqlength=3"], r"no option --max_seqlength\. Did you mean --max_seq_length or --max_answer_length\?"),
        (["--zebra"], r"no option --zebra\. See --help\."),
        (["--pruning_method", "magnitud"], r"--pruning_method: invalid choice: 'magnitud' .*Did you mean magnitude\?"),
        (["--learning_rate", "fast"], r"^--learning_rate: invalid float value: 'fast'\.$"),
        (
            ["--do_train", "true", "dev.txt"],
            "'dev.txt' belongs to no option. A recipe, ending in .yaml or .json, comes first",
        ),
        (["--optim", "sdg"], r"--optim: invalid choice: 'sdg'"),
        (
            ["--save_strategy", "steps", "--load_best_model_at_end", "--eval_strategy", "epoch"],
            "--eval_strategy|strategy",
        ),
        (["--further_metrics", "f2"], "--further_metrics='f2' names f2"),
        (["--lookup_initialization", "--model_name_or_path", "x"], "--lookup_initialization would overwrite"),
    ],
)
def test_what_is_wrong_is_said_by_the_options_name(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(*argv)


def test_a_typing_error_in_a_recipe(tmp_path) -> None:
    (tmp_path / "recipe.yaml").write_text("learning_rte: 1\n")
    with pytest.raises(ConfigurationError, match=r"do not exist: learning_rte\. Did you mean learning_rate\?"):
        parse_arguments(TYPES, [str(tmp_path / "recipe.yaml")])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("metric: squad1", r"^--metric: invalid choice: 'squad1' \(choose from .*Did you mean squad"),
        ("pruning_method: magnitud", r"^--pruning_method: invalid choice: .*Did you mean magnitude\?"),
        ("eval_strategy: no", r"^--eval_strategy: invalid choice: 'False' \(choose from 'no', "),
        ("metric: [squad, f2]", r"^--metric: invalid choice: 'squad,f2'"),
        ("learning_rate: true", r"^--learning_rate: invalid float value: 'True'"),
        ("max_steps: 1.5", r"^--max_steps: invalid int value: '1.5'"),
        ("do_train: 3", "^--do_train: Truthy value expected: got 3"),
    ],
)
def test_a_recipe_may_say_what_a_command_line_may(tmp_path, line: str, message: str) -> None:
    (tmp_path / "recipe.yaml").write_text(f"output_dir: out\n{line}\n")
    with pytest.raises(ConfigurationError, match=message):
        parse_arguments(TYPES, [str(tmp_path / "recipe.yaml")])


def test_values_of_a_recipe_are_of_their_options_types(tmp_path) -> None:
    lines = ["output_dir: out", "metric: null", "qa_layers: 5", "num_train_epochs: 3", "use_cpu: true"]
    lines += ["save_sparse: false", "eval_strategy: 'no'", "lr_scheduler_kwargs: {a: 1}", "report_to: none"]
    (tmp_path / "recipe.yaml").write_text("\n".join(lines))
    model, data, pruning, training, _ = parse_arguments(TYPES, [str(tmp_path / "recipe.yaml")])
    assert (model.qa_layers, data.metric, pruning.save_sparse) == ("5", None, False)
    assert (training.num_train_epochs, training.use_cpu, training.eval_strategy.value) == (3.0, True, "no")
    assert training.lr_scheduler_kwargs == {"a": 1}


def test_hyphens_are_as_good_as_underscores() -> None:
    model, data, pruning, training, _ = parse(
        "--max-seq-length=64", "--target-sparsity", "0.5", "--no-save-sparse", "--model-name-or-path", "a-b_c"
    )
    assert (data.max_seq_length, pruning.target_sparsity, pruning.save_sparse) == (64, 0.5, False)
    assert model.model_name_or_path == "a-b_c"
    assert training.output_dir == "out"


def test_help_has_groups_ours_first_and_lists_choices(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        parse("--help")
    text = capsys.readouterr().out
    assert text.startswith("usage: palbert train [RECIPE.yaml] [--option value] …\n")
    assert re.findall(r"^([A-Z]\w+):$", text, re.MULTILINE) == ["Model", "Data", "Pruning", "Run", "Trainer"]
    assert text.index("--target_sparsity") < text.index("--push_logs") < text.index("--learning_rate")
    assert "--pruning_method {" + ",".join(sorted(SCORES)) + "}" in text
    for option in ("pruning_scope {", "pruning_schedule {", "pruning_applications {", "qa_layer_pooling {", "metric {"):
        assert f"--{option}" in text
    assert len(re.findall(r"^  --max[_-]seq[_-]length", text, re.MULTILINE)) == 1


def test_errors_of_what_is_called_name_options() -> None:
    _, _, pruning, _, _ = parse("--target_sparsity", "0.7", "--pruning_warmup", "2")
    with pytest.raises(ConfigurationError, match=r"^--pruning_warmup=2\.0 must be"), naming_options(TYPES):
        pruning.callback()
    with pytest.raises(ConfigurationError, match=r"^StorageConfig|--sparse_values"), naming_options(TYPES):
        parse("--target_sparsity", "0.7", "--sparse_values", "int3")[2].callback()
    with pytest.raises(DatasetFormatError, match="of no setting"), naming_options(TYPES):
        raise DatasetFormatError("of no setting")


def test_a_script_ends_with_one_line_and_not_with_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(lambda argv: parse(*argv), ["--learning_rte", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "error: There is no option --learning_rte. Did you mean --learning_rate? See --help.\n"
    assert run_script(len, []) == 0


def test_lists_of_a_recipe_are_texts_with_commas(tmp_path) -> None:
    lines = ["output_dir: out", "use_cpu: true", "qa_layers: [1, 3]", "pruning_targets: [attention, ffn]"]
    (tmp_path / "recipe.yaml").write_text("\n".join([*lines, "further_metrics: [squad]"]))
    model, _, pruning, _, run = parse_arguments(TYPES, [str(tmp_path / "recipe.yaml")])
    assert model.palbert_fields == {"qa_layers": [1, 3]}
    assert (pruning.pruning_targets, run.metrics) == ("attention,ffn", ["squad"])


def test_a_list_of_files_stays_one(tmp_path) -> None:
    (tmp_path / "recipe.yaml").write_text("output_dir: out\nuse_cpu: true\ntrain_file: [a.txt, b.txt]\n")
    arguments, _ = parse_arguments((PreTrainingArguments, TrainingArguments), [str(tmp_path / "recipe.yaml")])
    assert arguments.train_file == ["a.txt", "b.txt"]


@pytest.mark.parametrize("line", ["config_overrides: {hidden_dropout_prob: 0.2}", "qa_layers: [[1, 2]]"])
def test_what_is_no_text_is_named(tmp_path, line: str) -> None:
    (tmp_path / "recipe.yaml").write_text(f"output_dir: out\n{line}\n")
    with pytest.raises(ConfigurationError, match=f"{line.partition(':')[0]}.* is no text"):
        parse_arguments(TYPES, [str(tmp_path / "recipe.yaml")])
