from __future__ import annotations

import re
from pathlib import Path

import pytest
from transformers import TrainingArguments

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.training.arguments import DataArguments, ModelArguments
from transformers_palbert.training.old_options import TODAY
from transformers_palbert.training.option_parser import parse_arguments

TYPES = (ModelArguments, DataArguments, TrainingArguments)


def parse(*argv: str) -> None:
    parse_arguments(TYPES, [*argv, "--output_dir", "out"])


@pytest.mark.parametrize("old", TODAY)
def test_an_old_option_is_refused_with_its_name_of_today(old: str) -> None:
    for argument in (f"--{old}", f"--{old}=1", f"--{old.replace('_', '-')}"):
        with pytest.raises(ConfigurationError, match=f"--{old} is of an older script. Give {re.escape(TODAY[old])}"):
            parse(argument)


@pytest.mark.parametrize("cure", TODAY.values())
def test_the_options_of_today_exist(cure: str) -> None:
    fields = {field for kind in TYPES for field in kind.__dataclass_fields__}
    assert {name.removeprefix("--") for name in re.findall(r"--\w+", cure)} <= fields


def test_so_it_is_in_a_recipe() -> None:
    Path("recipe.yaml").write_text("warmup_ratio: 0.1\nevaluation_strategy: epoch\n")
    with pytest.raises(ConfigurationError, match=r"(?s)--warmup_ratio .*fraction.*--evaluation_strategy "):
        parse("recipe.yaml")


def test_values_are_no_options() -> None:
    parse("--train_file", "threads", "--run_name", "warmup_ratio")
