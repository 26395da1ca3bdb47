"""Every Python block of the documents runs, those of a page one after the other, as a reader would run them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForQuestionAnswering

import transformers_palbert
from tests.docs.documents import PAGES, blocks
from tests.hub.fake_hub import FakeHub
from tests.hub.helpers import stock_trainer
from tests.references.exported_models import exported
from transformers_palbert.model.structure import STRUCTURES

Given = Callable[[], dict[str, Any]]
PUSHES = "docs/guides/push.md"
PYTHON = [page for page in PAGES if blocks(page, "python") and page != PUSHES]


def run(page: str, given: Given) -> dict[str, Any]:
    """Run the blocks of a page; each finds what a script has, and what the blocks before it have made."""
    namespace: dict[str, Any] = {}
    for block in blocks(page, "python"):
        namespace.update(given())
        code = compile("\n" * block.line + block.code, page, "exec")  # so that a traceback names the line
        exec(code, namespace)
    return namespace


@pytest.mark.usefixtures("_even_clock")
@pytest.mark.filterwarnings("ignore::transformers_palbert.errors.PruningWarning")  # runs of three steps
@pytest.mark.parametrize("page", PYTHON)
def test_the_page_runs(page: str, given: Given, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRUCTURES, "my_bert", STRUCTURES["bert"])  # what a block adds is taken away again
    if page == "docs/guides/export.md":
        shutil.copytree(exported("roberta"), workplace / "exported")
    run(page, given)


def test_the_page_about_the_hub_runs(hub: FakeHub, tmp_path: Path) -> None:
    def given() -> dict[str, Any]:
        options = {"push_to_hub": True, "hub_strategy": "checkpoint", "save_strategy": "steps", "save_steps": 3}
        return {"trainer": stock_trainer(tmp_path / "model", card=False, hub_token=hub.token, **options)}

    run(PUSHES, given)
    assert "model.safetensors" in hub.repos["me/model"].files()


def test_the_first_model_is_as_the_page_says(given: Given) -> None:
    run("docs/getting-started.md", given)
    report = transformers_palbert.pruning_report(AutoModelForQuestionAnswering.from_pretrained("my-model"))
    assert report.encoder.density == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("page", PYTHON)
def test_documents_use_public_names_only(page: str) -> None:
    used = {name for block in blocks(page, "python") for name in re.findall(r"\bpalbert\.(\w+)", block.code)}
    assert used <= set(transformers_palbert.__all__)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_its_language(page: str) -> None:
    assert {block.language for block in blocks(page)} <= {"bash", "python", "text"}
