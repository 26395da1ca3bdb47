"""The rules that hold the package together, read off its source: levels, cycles, public names."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import transformers_palbert

ROOT = Path(transformers_palbert.__file__).parent
PACKAGE = "transformers_palbert"
LEVELS = [
    {"_private_apis", "errors", "hub_tokens", "json_text", "machine", "spelling", "trainer_callback"},
    {"model", "text"},
    {"storage"},
    {"baselines", "qa", "sizes"},
    {"runtime", "speed"},
    {"hub", "pretraining", "pruning", "reduction"},
    {"compaction", "export"},
    {"training"},
    {"experiments", "pipelines", "serving"},
    {"analysis"},
    {"registration"},
    {"cli"},
]
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
FRONT_DOOR = {PACKAGE, "__main__"}
"""The package itself re-exports every level, and lower levels must not come in through it."""

HAS_NO_IMPORTERS = re.compile(r"\.cli\.|\.metrics\.(\w+)\.\1$")
"""Commands, and metrics that the `evaluate` library loads by their path: nothing is imported from them by name."""

PUBLIC_NAMES = [
    "BiLstmConfig",
    "BiLstmForQuestionAnswering",
    "ConfigurationError",
    "DatasetFormatError",
    "DistillationCallback",
    "KeptUnits",
    "MissingExtraError",
    "ModelCardCallback",
    "MovementPruningCallback",
    "NoEffectWarning",
    "PalBertConfig",
    "PalBertError",
    "PalBertForMaskedLM",
    "PalBertForMultipleChoice",
    "PalBertForPreTraining",
    "PalBertForQuestionAnswering",
    "PalBertForSequenceClassification",
    "PalBertForTokenClassification",
    "PalBertModel",
    "PalBertPreTrainedModel",
    "PalBertTokenizer",
    "Pruner",
    "PruningConfig",
    "PruningError",
    "PruningPlan",
    "QuestionAnsweringPipeline",
    "StorageConfig",
    "StorageError",
    "TeacherLogitsCollator",
    "TextCnnConfig",
    "TextCnnForQuestionAnswering",
    "TokenizerError",
    "VectorsError",
    "WordTokenizer",
    "__version__",
    "apply_density",
    "bake_masks",
    "cache_teacher",
    "check_tokenizer",
    "compute_metric",
    "density_at",
    "disable_sparse_saving",
    "drop_layers",
    "enable_sparse_saving",
    "last_whole_checkpoint",
    "load_albert_tokenizer",
    "load_metric",
    "load_qa_dataset",
    "prepare_pruning",
    "prunable_layers",
    "pruning_plan",
    "pruning_report",
    "register",
    "remove_units",
    "schedule_progress",
    "with_teacher",
    "without_teacher",
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(path: Path, *, at_import_time: bool = False) -> Iterator[str]:
    """Full names of the package's own modules that ``path`` imports, wherever in the file, for typing or not."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _statements(tree) if at_import_time else ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module.split(".") if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else source for name in names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == PACKAGE)


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported: not those in functions or for type checkers."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def part_of(module: str) -> str:
    """The file or folder directly below the package that ``module`` belongs to."""
    return module.split(".")[1] if module != PACKAGE else PACKAGE


@pytest.mark.parametrize("module", MODULES)
def test_imports_within_the_package_are_relative(module: str) -> None:
    """But in the scripts of ``evaluate``, which it copies out of the package and runs elsewhere."""
    if re.fullmatch(rf"{PACKAGE}\.qa\.metrics\.(\w+)\.\1", module):
        return
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    absolute = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    assert [node.module for node in absolute if (node.module or "").split(".")[0] == PACKAGE] == []


def test_every_part_of_the_package_has_a_level() -> None:
    assert {part_of(module) for module in MODULES} - FRONT_DOOR <= LEVEL.keys()


@pytest.mark.parametrize("module", [module for module in MODULES if module != PACKAGE])
def test_a_module_imports_only_from_its_own_folder_or_a_lower_level(module: str) -> None:
    own = part_of(module)
    for imported in imports(MODULES[module]):
        other = part_of(imported)
        if other == own or own == "__main__":
            continue
        assert other != PACKAGE or own == "cli", f"{module} imports through the package's front door"
        if other == PACKAGE:
            continue
        single_files = all((ROOT / f"{part}.py").is_file() for part in (own, other))
        same_folder = single_files and LEVEL[own] == LEVEL[other]
        assert same_folder or LEVEL[other] < LEVEL[own], f"{module} (level {LEVEL[own]}) imports {imported}"


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        module: {name for name in imports(path, at_import_time=True) if name != PACKAGE}
        for module, path in MODULES.items()
        if module != PACKAGE
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("module", [name for name in MODULES if not HAS_NO_IMPORTERS.search(name)])
def test_all_is_there_sorted_and_true(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    if not any(isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Assign) for node in tree.body):
        return  # a file that only documents its folder
    loaded = importlib.import_module(module)
    assert isinstance(loaded.__all__, list)
    assert loaded.__all__ == sorted(set(loaded.__all__), key=_isort_key)
    assert all(hasattr(loaded, name) for name in loaded.__all__)


def _isort_key(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then the rest: the order that ruff's RUF022 keeps."""
    if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) and len(name) > 1:
        return 0, name
    return (1 if name[0].isupper() else 2), name


def test_public_names_are_these() -> None:
    assert transformers_palbert.__all__ == PUBLIC_NAMES
    assert set(PUBLIC_NAMES) <= set(dir(transformers_palbert))


def test_public_names_are_documented_and_come_from_the_package() -> None:
    for name in PUBLIC_NAMES:
        value = getattr(transformers_palbert, name)
        if name != "__version__":
            assert value.__module__.startswith(PACKAGE)
            assert inspect.getdoc(value)


def test_lazy_names_type_checkers_and_all_agree() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    (typing_block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name: node.module
        for node in typing_block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == transformers_palbert._LAZY
    assert typed.keys() <= set(transformers_palbert.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    assert importlib.metadata.version("transformers-palbert") == transformers_palbert.__version__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'transformers_palbert' has no attribute 'PalBertForEverything'"):
        transformers_palbert.PalBertForEverything  # noqa: B018


def test_only_registration_touches_the_registries_of_transformers() -> None:
    registries = re.compile(r"SUPPORTED_TASKS|REMOVED_TASKS|PIPELINE_REGISTRY|_MAPPING\b|\bAuto\w+\.register\(")
    touching = {name for name, path in MODULES.items() if registries.search(path.read_text(encoding="utf-8"))}
    assert touching <= {f"{PACKAGE}.registration", f"{PACKAGE}._private_apis"}  # which only names them


EXAMPLES = sorted((ROOT.parents[1] / "examples").rglob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_no_example_imports_another(example: Path) -> None:
    """Each can be copied out and stays whole: what two of them need belongs into the package."""
    others = {path.stem for path in EXAMPLES} | {"examples"}
    imported = set()
    for node in ast.walk(ast.parse(example.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").split(".")[0])
    assert not imported & others


def test_there_are_examples() -> None:
    assert EXAMPLES
