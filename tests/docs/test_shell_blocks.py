"""Every command in the documents is one that the real parsers take."""

from __future__ import annotations

import re
from collections.abc import Callable
from configparser import ConfigParser
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from typer.main import get_command

from tests.docs.documents import PAGES, commands, prose
from tests.references.scripts import ROOT
from transformers_palbert.cli.main import app
from transformers_palbert.experiments import reproduction, tuning
from transformers_palbert.training import pretraining_run, question_answering

SHELL = [(page, command) for page in PAGES for command in commands(page)]
ON_A_CPU = ["--fp16", "false", "--use_cpu", "true"]
"""Half precision is an error without a GPU; these say nothing about the other options."""
PARSERS: dict[str, Callable[[list[str]], object]] = {
    "pretrain": lambda words: pretraining_run.parse([*words, *ON_A_CPU]),
    "reproduce": reproduction.parse,
    "train": lambda words: question_answering.parse([*words, *ON_A_CPU]),
    "tune": tuning.parse,
}
"""Commands that hand their options on -> what parses them."""
OTHERS = {"cd", "curl", "git"}
"""Commands of other projects, whose options are not checked here."""


def check_palbert(words: list[str]) -> None:
    """``palbert`` with these words behind it."""
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    context = command.make_context(command.name, words)
    if command.name in PARSERS:
        PARSERS[command.name](context.args)


def check_make(words: list[str]) -> None:
    """``make`` with a target of ours."""
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(words) <= set(targets)


def check_pip(words: list[str]) -> None:
    """``pip install`` of this package, with extras that exist."""
    assert words[0] == "install"
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    (what,) = [word for word in words[1:] if not word.startswith("-")]
    match = re.fullmatch(r"(?:\.|transformers-palbert)(?:\[([\w,]+)\])?", what)
    assert match
    assert set((match[1] or "all").split(",")) <= set(parser["options.extras_require"])


def check_python(words: list[str]) -> None:
    """``python`` with a script of this repository."""
    assert (ROOT / words[0]).is_file()


def check_accelerate(words: list[str]) -> None:
    """``accelerate launch … -m transformers_palbert``, and a command of ours behind it."""
    module = words.index("-m")
    assert words[0] == "launch"
    assert words[module + 1] == "transformers_palbert"
    check_palbert(words[module + 2 :])


CHECKS = {
    "accelerate": check_accelerate,
    "make": check_make,
    "palbert": check_palbert,
    "pip": check_pip,
    "python": check_python,
}


@pytest.fixture
def _files(tmp_path: Path) -> None:
    """What the commands read: nothing is opened, but most options want their file to be there."""
    for folder in ("my-model", "small", "fast", "exported", "seed-1", "seed-2", "outputs/pretrained"):
        (tmp_path / folder).mkdir(parents=True)
    files = (
        "train.json dev.json cmrc2018_dev.json squad2_dev.json nq-dev.jsonl.gz nq-train.jsonl.gz many.jsonl text.txt"
    )
    for file in (*files.split(), "book.txt", "corpus.txt", "corpus.txt.xz", "predictions.json", "vocab.txt"):
        (tmp_path / file).touch()


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("words", [words for _, words in SHELL], ids=[f"{page}: {words[0]}" for page, words in SHELL])
def test_the_command_is_taken(words: list[str]) -> None:
    program, *rest = words
    if program not in OTHERS:
        CHECKS[program](rest)


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["inspect", "my-model", "--nothing"], "NoSuchOption"),
        (["inspect"], "MissingParameter"),
        (["inspct", "my-model"], "KeyError"),
        (["train", "--lerning_rate", "1"], "ValueError"),
        (["compress", "my-model", "small", "--values", "int7"], "BadParameter"),
    ],
)
def test_a_wrong_command_is_not(words: list[str], error: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011  (each parser has errors of its own)
        check_palbert(words)
    assert error in [kind.__name__ for kind in type(raised.value).__mro__]


def known_options() -> set[str]:
    """Every long option of every command, and of the few programs beside them that the documents name."""

    def of_typer(command: Any) -> set[str]:
        own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        return own.union(*map(of_typer, getattr(command, "commands", {}).values()))

    sources = [Path(str(module.__file__)).read_text(encoding="utf-8") for module in (reproduction, tuning)]
    types = [
        question_answering.QuestionAnsweringArguments,
        pretraining_run.PreTrainingCommandLine,
        tuning.TuneCommandLine,
    ]
    classes = {kind for named in types for kind in get_type_hints(named).values()}
    return {
        *of_typer(get_command(app)),
        *(f"--{field.name}" for kind in classes for field in fields(kind)),
        *re.findall(r'add_argument\(\s*"(--[\w-]+)"', "".join(sources)),
        *("--help", "--no-deps"),
        *("--cpu", "--multi_gpu", "--num_processes"),  # of accelerate launch
    }


@pytest.mark.parametrize("page", PAGES)
def test_options_that_the_prose_names_exist(page: str) -> None:
    named = {
        option
        for code in re.findall(r"`([^`\n]+)`", prose(page))
        for option in re.findall(r"(?<!\S)--[a-zA-Z][\w-]*", code)
    }
    assert named <= known_options()
