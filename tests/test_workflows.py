"""The workflows: who may do what, which versions they test, and that they call commands that exist."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.references.scripts import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
each_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)

GRANTED = {
    ("docs", "deploy"): {"pages": "write", "id-token": "write"},
    ("release", "publish"): {"id-token": "write"},
    ("release", "announce"): {"contents": "write"},
}
"""The jobs that may do more than read."""


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))


@each_workflow
def test_actions_are_named_by_commit_and_keep_no_password(file: Any) -> None:
    used = re.findall(r"uses: (.+)", file.read_text(encoding="utf-8"))
    local = [action for action in used if action.startswith("./")]
    assert all((ROOT / action).is_file() for action in local)
    pinned = r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
    assert not [action for action in used if action not in local and not re.fullmatch(pinned, action)]
    for job in yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values():
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@each_workflow
def test_jobs_may_read_and_no_more_unless_they_have_to(file: Any) -> None:
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job.get("permissions") == GRANTED.get((file.stem, name))
        assert "uses" in job or 0 < job["timeout-minutes"] <= 60


@each_workflow
def test_commands_exist(file: Any) -> None:
    text = file.read_text(encoding="utf-8")
    targets = set(re.findall(r"run: make (?:--[\w-]+ )?([\w-]+)", text))
    known = set(re.findall(r"^([a-z-]+)(?: [a-z ]+)?:", MAKEFILE, re.MULTILINE))
    assert targets <= known | {"docs"}  # the documentation brings its own
    assert all((ROOT / script).is_file() for script in re.findall(r"python3? (\.ci/\S+)", text))
    assert "${{ github.event." not in "".join(re.findall(r"run: .*", text))  # what strangers write is no command


def test_every_supported_python_is_tested_with_the_oldest_and_the_newest_transformers() -> None:
    matrix = load("ci")["jobs"]["test"]["strategy"]["matrix"]
    classifiers = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert matrix["python"] == re.findall(r"Python :: (3\.\d+)$", classifiers, re.MULTILINE)
    (oldest,) = re.findall(r"TRANSFORMERS=(\d[\d.]+)", MAKEFILE)
    assert matrix["transformers"] == [oldest, ""]


def test_a_release_publishes_what_was_tested() -> None:
    jobs = load("release")["jobs"]
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert set(jobs["publish"]["needs"]) == {"ci", "check"}
    assert jobs["publish"]["environment"]["name"] == "pypi"
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]  # it publishes, and builds nothing


def test_tools_that_build_a_release_have_hashes() -> None:
    lines = (ROOT / "constraints-dist.txt").read_text(encoding="utf-8").splitlines()
    blocks = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ").splitlines()
    assert {"build", "check-wheel-contents", "setuptools", "twine"} <= {block.partition("==")[0] for block in blocks}
    assert not [block for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)]
    (pin,) = re.findall(r"^setuptools==.*", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert any(block.startswith(f"{pin} ") for block in blocks)


@pytest.mark.parametrize("file", [form for form in FORMS if form.stem != "config"], ids=lambda file: file.stem)
def test_issue_forms_have_what_the_host_asks_for(file: Any) -> None:
    form = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names)
    assert all(field["type"] == "textarea" and field["attributes"]["label"] for field in form["body"])


def test_hooks_before_a_commit_are_the_checks_of_quality() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    (checks,) = re.findall(r"^quality: (.*?)  ##", MAKEFILE, re.MULTILINE)
    assert [hook["entry"] for hook in local["hooks"]] == [f"make {check}" for check in checks.split()]
