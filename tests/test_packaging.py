"""What is shipped: metadata that agrees with itself, and a complete wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from configparser import ConfigParser
from email.parser import Parser
from importlib.metadata import entry_points
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import transformers_palbert
from tests.references.scripts import ROOT, load_script

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
    released, dev, _ = transformers_palbert.__version__.partition(".dev")
    assert (released in headings) is not bool(dev)  # between two releases, the next one has no heading yet


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


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution of the repository, and the wheel that is made from it, as `python -m build` does."""
    folder = tmp_path_factory.mktemp("dist")
    build("sdist", copy_of_repository(folder / "repository"), folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def copy_of_repository(target: Path) -> Path:
    """What the repository holds, without environments, caches and what runs leave behind."""
    names = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()]
    ignore = shutil.ignore_patterns(".git", *names)
    shutil.copytree(ROOT, target, ignore=ignore)
    return target


def build(kind: str, source: Path, target: Path) -> None:
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(target)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_wheel_is_complete(distributions):
    _, wheel = distributions
    assert f"-{transformers_palbert.__version__}-" in wheel.name
    packed = {name for name in ZipFile(wheel).namelist() if name.startswith("transformers_palbert/")}
    files = [file for file in PACKAGE.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    assert packed == {file.relative_to(ROOT / "src").as_posix() for file in files}
    assert "transformers_palbert/py.typed" in packed
    assert "transformers_palbert/qa/metrics/squad/squad.py" in packed
    assert "transformers_palbert/training/recipes/paper_cmrc2018.yaml" in packed
    assert "transformers_palbert/experiments/grids/table7.yaml" in packed


def test_source_distribution_holds_what_tests_and_figures_need(distributions):
    sdist, _ = distributions
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("benchmarks", "examples", "model_cards", "tests", ".github", ".ci")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    wanted = {file.relative_to(ROOT).as_posix() for file in files if "__pycache__" not in file.parts}
    assert wanted <= names
    tops = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "constraints.txt"}
    assert tops <= names
    assert not [name for name in names if name.endswith(".pyc") or name.startswith(".venv")]


def test_metadata_is_what_package_indexes_read(distributions):
    _, wheel = distributions
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert not [line for line in metadata.get_all("Classifier") if line.startswith("License")]
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL"))
    assert {"Changelog", "Documentation", "Issues", "Source"} <= urls.keys()
    assert all(url.startswith("https://") for url in urls.values())
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_the_mission_names_its_dependencies(setup_cfg):
    core = {Requirement(line).name for line in setup_cfg["options"]["install_requires"].split("\n") if line}
    named = {"transformers", "torch", "datasets", "evaluate", "accelerate", "safetensors", "huggingface-hub", "jieba"}
    assert named <= core
    assert setup_cfg["options.extras_require"]["baselines"].split() == ["gensim>=4.4"]


def test_a_wheel_trains_and_answers_away_from_the_repository(distributions, tmp_path):
    _, wheel = distributions
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    script = shutil.copy(ROOT / ".ci" / "try_installed.py", tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    where = tmp_path / "installed" / "transformers_palbert"
    assert f"{where}: version {transformers_palbert.__version__} works" in done.stdout


def project_urls(setup_cfg: ConfigParser) -> dict[str, str]:
    return dict(line.split(" = ") for line in setup_cfg["metadata"]["project_urls"].split("\n") if line)


def test_links_of_the_long_description_are_absolute():
    """Package indexes show README.md as well, and a relative link leads nowhere there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(\s*<?([^)\s>]+)|^\s*\[[^\]]+\]:\s*(\S+)|(?:src|href)=[\"']([^\"']+)", prose, re.MULTILINE)
    relative = [link for found in links for link in found if link and not re.match("https://|mailto:|#", link)]
    assert not relative


@pytest.mark.parametrize(
    ("tag", "changelog", "expected"),
    [
        ("v0.2.0", "# Changelog\n\n## [Unreleased]\n\n## [0.2.0]\n\n- New.\n\n## [0.1.0]\n\n- Old.\n", "- New."),
        ("v0.2.0", "# Changelog\n\n## [Unreleased]\n\n- New.\n\n## [0.1.0]\n\n- Old.\n", "says nothing under"),
        ("v0.3.0", "# Changelog\n\n## [0.2.0]\n\n- New.\n", "says version 0.2.0"),
    ],
)
def test_a_release_needs_tag_version_and_changelog_to_agree(tmp_path, tag, changelog, expected):
    script = load_script(".ci/release_notes.py")
    package = tmp_path / "src" / "transformers_palbert"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "0.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    try:
        said = script.main(tag, tmp_path)
    except SystemExit as error:
        said = str(error)
    assert expected in said
    assert said.startswith("error: ") != (said == expected)


def test_citation_names_the_paper_and_the_licence(setup_cfg):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == setup_cfg["metadata"]["license_expression"]
    assert citation["repository-code"] == project_urls(setup_cfg)["Source"]
    assert project_urls(setup_cfg)["Paper"].endswith(citation["references"][0]["doi"])
