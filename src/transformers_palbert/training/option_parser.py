"""The command line of the scripts that train: options in groups, recipes, and errors that name the option."""

from __future__ import annotations

import re
import sys
from argparse import Action, ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser, TrainingArguments

from ..errors import ConfigurationError, PalBertError
from ..json_text import parse_json
from ..spelling import did_you_mean, name_options, said_by
from .old_options import refuse_old_options
from .recipe_files import find_recipe

__all__ = ["naming_options", "parse_arguments", "run_script"]

_PREFIXES = ("pruning_", "sparse_")
"""What options have before the names of the settings of pruning and storage."""


class _Parser(HfArgumentParser):
    """One group of options for each dataclass, the Trainer's behind all others; errors are exceptions.

    It remembers its options, of which argparse has no public list.
    """

    def __init__(self, types: Sequence[type], **settings: Any) -> None:
        self.options: list[Action] = []
        self._owners = {field.name: _owner(kind, field.name) for kind in types for field in fields(kind)}
        self._groups: dict[type, Any] = {}
        super().__init__(types, **settings)  # type: ignore[arg-type] # any sequence will do

    def add_argument(self, *args: Any, **kwargs: Any) -> Action:
        owner = self._owners.get(kwargs.get("dest") or args[0].lstrip("-"))
        if owner is None:
            return super().add_argument(*args, **kwargs)
        if not self._groups:
            for kind in sorted(dict.fromkeys(self._owners.values()), key=lambda kind: kind is TrainingArguments):
                self._groups[kind] = self.add_argument_group(*_heading(kind))
        names = [name for name in args if "-" not in name.lstrip("-")]  # see _underscored
        if names[0].startswith("--no_"):
            kwargs["help"] = f"The opposite of --{kwargs['dest']}."
        self.options.append(self._groups[owner].add_argument(*names, **kwargs))
        return self.options[-1]

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print below hundreds of lines of usage."""
        found = re.fullmatch(r"argument (-[^\s/:]+)\S*: (.*)", message, re.DOTALL)
        if found is None:
            raise ConfigurationError(f"{message}. See --help.")
        wrong = re.match(r"invalid choice: '(.*?)' \(choose from (.*)\)", found[2])
        hint = did_you_mean(wrong[1], re.findall(r"[^\s,']+", wrong[2])) if wrong else ""
        raise ConfigurationError(f"{found[1]}: {found[2]}.{hint}")


class _Help(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Shows defaults beside the options, as transformers does, and leaves the lines of the description as they are."""


def _owner(kind: type, name: str) -> type:
    """The dataclass in whose group an option stands: the Trainer's own options are always the Trainer's."""
    inherited = issubclass(kind, TrainingArguments) and name in {field.name for field in fields(TrainingArguments)}
    return TrainingArguments if inherited else kind


def _heading(kind: type) -> tuple[str, str]:
    """Title and description of the group of a dataclass."""
    if kind is TrainingArguments:
        return "Trainer", "How it is trained, saved, logged and pushed: the options of the Trainer of transformers."
    name = kind.__name__.removesuffix("Arguments")
    words = re.findall(r"[A-Z][a-z]*", name)
    return " ".join([words[0], *(word.lower() for word in words[1:])]), (kind.__doc__ or "").split("\n\n")[0]


def parse_arguments(
    types: Sequence[type], argv: Sequence[str], description: str = "", prog: str | None = None
) -> tuple[Any, ...]:
    """Parse ``argv`` into one instance of each of ``types``; a recipe as first argument sets the defaults.

    ``palbert train recipe.yaml --learning_rate 1e-5`` takes everything from the recipe but the learning rate. Every
    option may be spelled with hyphens as well.

    Args:
        types: Dataclasses, whose fields are the options.
        argv: The command line without the program's name.
        description: The text above the options in ``--help``.
        prog: The program's name in ``--help``; by default that of the script.

    Raises:
        ConfigurationError: if there is no such recipe, it is no mapping or names an option that does not exist; if an
            option is unknown or one of an older script; or if a value is not allowed. The message names the option.
    """
    usage = "%(prog)s [RECIPE.yaml] [--option value] …"
    parser = _Parser(types, prog=prog, usage=usage, description=description, formatter_class=_Help)
    rest = [_underscored(word) for word in argv]
    known = {action.dest for action in parser.options}
    refuse_old_options((word for word in rest if word.startswith("--")), known)
    if rest and rest[0].endswith((".yaml", ".yml", ".json")):
        recipe = _read_recipe(find_recipe(rest.pop(0)))
        refuse_old_options(recipe, known)
        if unknown := sorted(set(recipe) - known):
            hints = "".join(did_you_mean(name, known) for name in unknown)
            raise ConfigurationError(
                f"The recipe names options that do not exist: {', '.join(unknown)}.{hints} See --help."
            )
        for action in parser.options:
            action.required = action.required and action.dest not in recipe
        theirs = {field.name for field in fields(TrainingArguments)}
        texts = {action.dest for action in parser.options if action.nargs in (None, "?")} - theirs
        parser.set_defaults(**_as_typed(parser, _with_texts(recipe, texts)))
    return _instances(parser, rest, types, known)


def _with_texts(recipe: Mapping[str, Any], own: Collection[str]) -> dict[str, Any]:
    """The recipe with lists for options of ours that take one text as that text: ``[1, 3]`` is ``1,3``.

    Raises:
        ConfigurationError: if such an option has a mapping, or lists in a list.
    """
    values = dict(recipe)
    for name in recipe.keys() & own:
        value = recipe[name]
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, list | dict) for v in value)):
            raise ConfigurationError(
                f"{name}: {value!r} is no text. Write it as on a command line, in quotes; `--help` says how."
            )
        if isinstance(value, list):
            values[name] = ",".join(map(str, value))
    return values


def _as_typed(parser: _Parser, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a recipe as a command line has them: texts, which argparse converts by the option's type.

    What no command line can say stays as it is: null, lists, mappings, and true and false for an option of another
    kind. Choices are compared here, since argparse passes over those of defaults.
    """
    values = dict(recipe)
    for action in parser.options:
        value = recipe.get(action.dest)
        if isinstance(value, int | float) and not (isinstance(value, bool) and action.type is str):
            values[action.dest] = str(value)
        if action.choices is not None and value is not None and str(value) not in map(str, action.choices):
            known = ", ".join(map(repr, action.choices))
            parser.error(f"argument {action.option_strings[0]}: invalid choice: '{value}' (choose from {known})")
    return values


def _underscored(word: str) -> str:
    """An option with underscores, as the Trainer's are spelled, whichever way it is given."""
    name, equals, value = word.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if re.fullmatch(r"--[a-z][\w-]*", name) else word


def _instances(parser: _Parser, argv: list[str], types: Sequence[type], known: Iterable[str]) -> tuple[Any, ...]:
    """The dataclasses; what they refuse, those of transformers included, is an error of the command line."""
    with naming_options(types):
        try:
            *parsed, unknown = parser.parse_args_into_dataclasses(argv, return_remaining_strings=True)
        except (ValueError, ImportError) as error:
            if isinstance(error, PalBertError):
                raise
            raise ConfigurationError(str(error)) from error
    if unknown:
        raise _unknown_option(unknown, known)
    return tuple(parsed)


def _unknown_option(words: Sequence[str], known: Iterable[str]) -> ConfigurationError:
    """What is wrong with words of a command line that no option took."""
    named = next((word for word in words if word.startswith("--")), None)
    if named is None:
        return ConfigurationError(
            f"{words[0]!r} belongs to no option. A recipe, ending in .yaml or .json, comes first; everything else is an"
            " --option with its value."
        )
    name = named[2:].partition("=")[0]
    hint = re.sub(r"(\w+)(?=\?| or )", r"--\1", did_you_mean(name, known))
    return ConfigurationError(f"There is no option {named.partition('=')[0]}.{hint} See --help.")


@contextmanager
def naming_options(types: Iterable[type]) -> Iterator[None]:
    """Let errors of what is called here name the options of these dataclasses, and not the settings behind them."""
    names = [field.name for kind in types for field in fields(kind)]
    options = {name: f"--{name}" for name in names}
    for prefix in _PREFIXES:
        for name in names:
            if name.startswith(prefix):
                options.setdefault(name.removeprefix(prefix), f"--{name}")
    try:
        yield
    except PalBertError as error:
        if (named := name_options(str(error), options)) == str(error):
            raise
        raise type(error)(named) from error


def run_script(main: Callable[[Sequence[str]], Any], argv: Sequence[str]) -> int:
    """Call ``main``; errors of the user's are one line on stderr, without a traceback. Returns the exit status."""
    try:
        main(argv)
    except (PalBertError, OSError) as error:
        sys.stderr.write(f"error: {said_by(error)}\n")
        return 1
    return 0


def _read_recipe(file: Path) -> dict[str, Any]:
    text = file.read_text(encoding="utf-8")
    try:
        values = parse_json(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"{file} must hold a mapping from option to value, not {type(values).__name__}.")
    return values  # YAML reads 2e-5 (no dot) as a string, see _as_typed
