"""Every private or undocumented name of another library that the package uses is in its list, and is still there."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import pytest
import transformers

import transformers_palbert
from transformers_palbert._private_apis import OVERRIDDEN_HOOKS, PRIVATE_APIS, UNDOCUMENTED_APIS, PrivateApi

ROOT = Path(transformers_palbert.__file__).parent
TESTS = Path(__file__).parent
PACKAGE = "transformers_palbert"
ROWS = (*PRIVATE_APIS, *UNDOCUMENTED_APIS, *OVERRIDDEN_HOOKS)
FILES = [file for file in sorted(ROOT.rglob("*.py")) if file.name != "_private_apis.py"]

OWN_PREFIX = "_palbert_"
"""Begins every name that the package itself puts on an object of another library."""

FRAMES = {"f_back", "f_globals", "f_locals"}
"""Attributes of a frame: whoever reads one looks into the insides of a function."""

DOCUMENTED = {
    "AlbertForPreTrainingOutput",
    "BaseModelOutput",
    "HfQuantizer",
    "QuestionAnsweringModelOutput",
    "disable_progress_bar",
}
"""Names that the manual of transformers describes, although its top level does not export them."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def last(name: str) -> str:
    return re.split(r"[.:]", name)[-1]


# -- what the sources use ----------------------------------------------------------------------------------------------


def own_names(tree: ast.Module) -> set[str]:
    """What classes of this file define, in their bodies or on ``self``: no names of somebody else."""
    names = {name for kind in classes(tree) for statement in kind.body for name in defined(statement)}
    stored = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    return names | {node.attr for node in stored if is_own_object(node.value)}


def classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def defined(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def is_own_object(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def own_modules(tree: ast.Module) -> set[str]:
    """Names in this file that are, or come from, modules of the package."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == PACKAGE)
        for alias in node.names
    }


def written_uses(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """Private names that the text of a file reads, sets, passes, imports or has as a string."""
    ours = own_modules(tree)
    pieces = {id(piece) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for piece in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (is_private(node.attr) or node.attr in FRAMES):
            from_us = is_own_object(node.value) or (isinstance(node.value, ast.Name) and node.value.id in ours)
            inherited = ast.unparse(node.value).startswith("super(")
            if inherited or not (from_us or node.attr in own):
                yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
            if node.value.isidentifier() and is_private(node.value) and node.value not in own:
                yield node.value
        elif isinstance(node, ast.keyword) and is_private(node.arg or ""):
            yield str(node.arg)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if any(map(is_private, alias.name.split("."))))
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] != PACKAGE:
            private_module = any(map(is_private, (node.module or "").split(".")))
            yield from (alias.name for alias in node.names if private_module or is_private(alias.name))


def inherited_uses(tree: ast.Module, module: ModuleType) -> Iterator[str]:
    """Private names that a class defines or reads on ``self`` and that a class of another library has as well."""
    for node in classes(tree):
        kind = getattr(module, node.name, None)
        if not isinstance(kind, type):
            continue
        foreign = [base for base in kind.__mro__ if base.__module__.split(".")[0] not in (PACKAGE, "builtins")]
        names = {name for statement in node.body for name in defined(statement)}
        names |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and is_own_object(n.value)}
        for name in filter(is_private, names):
            if any(hasattr(base, name) or name in vars(base).get("__annotations__", {}) for base in foreign):
                yield name


def unexported_uses(tree: ast.Module) -> Iterator[str]:
    """Names from inside transformers that neither its top level nor its manual has."""
    known = exported() | DOCUMENTED
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transformers."):
            yield from (alias.name for alias in node.names if alias.name not in known)


def registry_uses(tree: ast.Module) -> Iterator[str]:
    """What registration takes of the modules of transformers that it is given."""
    known = exported()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value) == "module"
            and not node.attr.startswith("__")
            and node.attr not in known
        ):
            yield node.attr


@lru_cache
def exported() -> frozenset[str]:
    return frozenset(dir(transformers))


def uses_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    name = ".".join((PACKAGE, *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    inherited = set(inherited_uses(tree, importlib.import_module(name)))
    uses = inherited | set(written_uses(tree, own_names(tree) - inherited)) | set(unexported_uses(tree))
    if file.name == "registration.py":
        uses |= set(registry_uses(tree))
    return {use for use in uses if not use.startswith(OWN_PREFIX)}


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_no_private_name_is_used_that_is_not_listed(file: Path) -> None:
    listed = {last(row.name) for row in ROWS if relative(file) in row.used_in}
    assert uses_of(file) - listed == set(), "list them in _private_apis.py, or do without them"


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ("other._secret", {"_secret"}),
        ("other.part._secret = 1", {"_secret"}),
        ("getattr(other, '_secret', None)", {"_secret"}),
        ("vars(other).pop('_secret')", {"_secret"}),
        ("other(_secret=1)", {"_secret"}),
        ("import json._secret", {"json._secret"}),
        ("from json import _secret", {"_secret"}),
        ("from json._secret import dumps", {"dumps"}),
        ("class A(B):\n    def f(self): return super()._f()", {"_f"}),
        ("frame.f_locals['x']", {"f_locals"}),
        ("class A:\n    def f(self, other): self._own = other._own", set()),
        ("from . import codec\ncodec._own", set()),
        ("f'{name}_suffix'; other.__dict__; other.public", set()),
    ],
)
def test_the_search_sees_what_it_should(source: str, uses: set[str]) -> None:
    tree = ast.parse(source)
    assert set(written_uses(tree, own_names(tree))) == uses


# -- what the list says ------------------------------------------------------------------------------------------------


def row_id(row: PrivateApi) -> str:
    return row.name


def test_the_list_names_nothing_twice() -> None:
    names = [row.name for row in ROWS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_a_row_is_complete(row: PrivateApi) -> None:
    assert row.library
    assert re.fullmatch(r"[A-Z].*[^.]\.", row.what_for), "a whole sentence, or several"
    assert row.used_in


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_a_listed_name_is_used_where_the_row_says(row: PrivateApi) -> None:
    for file in row.used_in:
        assert re.search(rf"\b{re.escape(last(row.name))}\b", (ROOT / file).read_text(encoding="utf-8")), file


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_a_listed_name_exists_in_the_installed_version(row: PrivateApi) -> None:
    """A dotted path leads to it. Behind a colon stands what the code of the module before it sets, reads or takes."""
    path, _, inside = row.name.partition(":")
    found = resolve(path)
    if inside:
        assert re.search(rf"\b{re.escape(inside)}\b", inspect.getsource(found))


def resolve(path: str) -> object:
    """The module, or the attribute of a module or of what stands in it, that ``path`` leads to."""
    parts = path.split(".")
    found: object = importlib.import_module(parts[0])
    for count, part in enumerate(parts[1:], start=2):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what transformers 5.21 imports beside its exporters
                found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(".".join(parts[:count]))
    return found


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_the_test_of_a_row_exists(row: PrivateApi) -> None:
    file, *names = row.test.split("::")
    body: list[ast.stmt] = ast.parse((TESTS.parent / file).read_text(encoding="utf-8")).body
    assert names
    for name in names:
        (found,) = (node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name)
        body = found.body
    assert isinstance(found, ast.FunctionDef)
    assert found.name.startswith("test_")
