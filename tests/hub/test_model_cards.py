"""The cards in ``model_cards/`` are those of the recipes and results as they are now."""

from __future__ import annotations

import json
from types import ModuleType

import pytest
from huggingface_hub import ModelCard

from tests.references.scripts import load_script


@pytest.fixture(scope="module")
def render() -> ModuleType:
    return load_script("model_cards/render.py")


def test_the_cards_are_up_to_date(render: ModuleType) -> None:
    assert render.present() == render.cards(), "run `python model_cards/render.py`"


def test_the_hub_could_read_them(render: ModuleType) -> None:
    for text in render.cards().values():
        assert ModelCard(text).data.pipeline_tag == "question-answering"


def test_figures_are_those_of_the_result_file(render: ModuleType) -> None:
    result = json.loads((render.RESULTS / "cmrc2018_pruning.json").read_text(encoding="utf-8"))
    for run in result["runs"]:
        text = render.cards()[f"cmrc2018_{run['name']}.md"]
        assert f"| this model | {run['f1']:.2f} | {run['em']:.2f} |" in text
        assert run["command"] in text


def test_the_paper_has_no_results_here(render: ModuleType) -> None:
    text = render.cards()["paper_cmrc2018.md"]
    assert "not run here" in text
    assert "Results" not in text
