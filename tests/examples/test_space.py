"""The Space: what the Hub reads of it, and a page that answers as the pipeline does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import BertTokenizer, pipeline

from tests.pruning.helpers import tiny_model
from tests.references.scripts import ROOT, load_script
from transformers_palbert import enable_sparse_saving

SPACE = ROOT / "examples" / "space"
CONTEXT = "李明出生于北京，后来搬了家。"


def test_the_front_matter_says_what_the_hub_asks_for() -> None:
    _, front, _ = (SPACE / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(front)
    assert card["sdk"] == "gradio"
    assert re.fullmatch(r"\d+\.\d+\.\d+", card["sdk_version"])
    assert (SPACE / card["app_file"]).is_file()
    assert card["license"] == "apache-2.0"
    assert card["colorFrom"] in (colors := {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"})
    assert card["colorTo"] in colors
    assert len(card["short_description"]) <= 60


@pytest.fixture
def app() -> Any:
    pytest.importorskip("gradio")  # it wants an older Pillow than the environment of the tests has
    return load_script("examples/space/app.py")


@pytest.fixture
def models(files: dict[str, str], tmp_path: Path) -> list[str]:
    """A dense model, and a pruned and packed one."""
    tokenizer = BertTokenizer(vocab=files["vocab"])
    for name in ("dense", "pruned"):
        model = tiny_model("bert", vocab_size=len(tokenizer), max_position_embeddings=64)
        if name == "pruned":
            for layer in model.base_model.encoder.layer:
                layer.output.dense.weight.data[1:] = 0
            enable_sparse_saving(model)
        for part in (tokenizer, model):
            part.save_pretrained(tmp_path / name)
    return [str(tmp_path / name) for name in ("dense", "pruned")]


@pytest.mark.filterwarnings("default::DeprecationWarning")  # gradio's own
def test_the_page_shows_both_answers_with_bytes_and_milliseconds(app: Any, models: list[str]) -> None:
    gradio_client = pytest.importorskip("gradio_client")
    page = app.build([app.load(name) for name in models])
    page.launch(prevent_thread_lock=True, server_name="127.0.0.1", quiet=True)
    try:
        client = gradio_client.Client(page.local_url, verbose=False)
        shown = client.predict("李明出生于哪里？", CONTEXT, api_name="/ask")
    finally:
        page.close()
    kept = []
    for name, facts, text in zip(models, shown[::2], shown[1::2], strict=True):
        expected: Any = pipeline("question-answering", model=name)(question="李明出生于哪里？", context=CONTEXT)
        said = re.fullmatch(r"\*\*0\.\d MB\*\* · \*\*\d+ ms\*\* · (\d+)% of .* · score (.+)", facts)
        assert said
        assert said[2] == f"{expected['score']:.2f}"
        assert [piece["token"] for piece in text if piece["class_or_confidence"]] == [expected["answer"]]
        assert "".join(piece["token"] for piece in text) == CONTEXT
        kept.append(int(said[1]))
    assert kept[0] == 100 > kept[1]


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_what_is_missing_is_named(app: Any, models: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="Both a question and a text"):
        app.compare([app.load(models[0])], " ", CONTEXT)
    with pytest.raises(Exception, match="may have 500 characters"):
        app.compare([app.load(models[0])], "?" * 501, CONTEXT)
    monkeypatch.delenv("DENSE_MODEL", raising=False)
    with pytest.raises(SystemExit, match="set DENSE_MODEL and PRUNED_MODEL"):
        app.main()
