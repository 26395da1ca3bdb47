"""What is shipped: metadata that agrees with itself, and a complete wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from importlib.metadata import entry_points
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import transformers_palbert

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "transformers_palbert"


@pytest.fixture(scope="module")
def setup_cfg() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def requirements(setup_cfg: ConfigParser) -> list[Requirement]:
    texts = [setup_cfg["options"]["install_requires"], *setup_cfg["options.extras_require"].values()]
    return [Requirement(line) for text in texts for line in text.split("\n") if line]


def test_metadata_stands_in_setup_cfg_and_tools_in_pyproject(setup_cfg, pyproject):
    assert set(pyproject) == {"build-system", "tool"}
    assert set(pyproject["tool"]) == {"coverage", "mypy", "pytest", "ruff"}
    assert not [section for section in setup_cfg.sections() if section.split(".")[0] not in ("metadata", "options")]


def test_version_is_written_once(setup_cfg):
    assert setup_cfg["metadata"]["version"] == "attr: transformers_palbert.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", transformers_palbert.__version__)


def test_changelog_knows_the_version():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert transformers_palbert.__version__ in headings


def test_python_version_is_the_same_everywhere(setup_cfg, pyproject):
    major, minor = setup_cfg["options"]["python_requires"].removeprefix(">=").split(".")
    assert pyproject["tool"]["ruff"]["target-version"] == f"py{major}{minor}"
    assert pyproject["tool"]["mypy"]["python_version"] == f"{major}.{minor}"
    assert f"({major}, {minor})" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"Python :: {major}.{minor}\n" in setup_cfg["metadata"]["classifiers"]


def test_oldest_transformers_of_the_makefile_is_the_required_one(setup_cfg):
    (bound,) = (r for r in requirements(setup_cfg) if r.name == "transformers")
    oldest = re.search(r"TRANSFORMERS=([\d.]+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert oldest
    assert oldest[1] in bound.specifier
    assert f">={oldest[1].rpartition('.')[0]}" in str(bound.specifier)


def test_every_dependency_is_pinned_within_its_bounds(setup_cfg, pinned):
    for requirement in requirements(setup_cfg):
        if requirement.name == "transformers-palbert":
            continue
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_extras_that_extras_name_exist(setup_cfg):
    extras = set(setup_cfg["options.extras_require"])
    named = {extra for r in requirements(setup_cfg) if r.name == "transformers-palbert" for extra in r.extras}
    assert named <= extras


def test_extras_that_errors_name_exist(setup_cfg):
    extras = set(setup_cfg["options.extras_require"])
    sources = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    named = re.findall(r'\brequire\(\s*"[\w.]+",\s*(?:extra=)?"([\w-]+)"', sources)
    named += [
        extra for extra in re.findall(r"transformers-palbert\[([\w,-]+)\]", sources) for extra in extra.split(",")
    ]
    assert set(named) <= extras


def test_console_script_resolves():
    from transformers_palbert.cli.main import run

    (script,) = (entry for entry in entry_points(group="console_scripts") if entry.name == "palbert")
    assert script.load() is run


def test_wheel_is_complete(tmp_path):
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=ignore)
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.cfg"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
    ]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert f"-{transformers_palbert.__version__}-" in wheel.name
    packed = {name for name in ZipFile(wheel).namelist() if name.startswith("transformers_palbert/")}
    files = [file for file in PACKAGE.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    assert packed == {file.relative_to(ROOT / "src").as_posix() for file in files}
    assert "transformers_palbert/py.typed" in packed
    assert "transformers_palbert/qa/metrics/squad/squad.py" in packed
    assert "transformers_palbert/training/recipes/paper_cmrc2018.yaml" in packed
    assert "transformers_palbert/experiments/grids/table7.yaml" in packed
