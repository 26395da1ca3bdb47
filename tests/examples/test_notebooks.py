"""The notebooks, executed from the first cell to the last, on data and models that take no time."""

from __future__ import annotations

import csv
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from transformers import AlbertConfig, AutoModelForQuestionAnswering, BertConfig, BertTokenizer

from tests.references.scripts import ROOT
from transformers_palbert.sizes import inspect_checkpoint

FOLDER = ROOT / "examples" / "notebooks"
NAMES = sorted(file.stem for file in FOLDER.glob("*.ipynb"))


@pytest.fixture(autouse=True)
def _kernels_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kernel finds `palbert`, and leaves nothing in the user's folders."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))


def read(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def tagged(notebook: Any, tag: str) -> list[Any]:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def execute(name: str, **parameters: Any) -> str:
    """What the cells print and return, where those tagged ``parameters`` are followed by others' values."""
    notebook = read(name)
    (given,) = tagged(notebook, "parameters")
    unknown = [key for key in parameters if f"\n{key} = " not in f"\n{given.source}"]
    assert not unknown
    place = notebook.cells.index(given) + 1
    values = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    notebook.cells.insert(place, nbformat.v4.new_code_cell(values))
    notebook.cells = [cell for cell in notebook.cells if cell not in tagged(notebook, "install")]
    try:
        NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    finally:
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
        printed = "\n".join(texts)
        sys.stdout.write(printed)  # pytest shows it where this fails: a command's error is no error of its cell
    return printed


def save_start(files: dict[str, str], config: Any) -> str:
    """A model with random weights and a tokenizer for ``files``."""
    words = Path(files["vocab"]).read_text(encoding="utf-8").splitlines()
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate([*words, "谁"])})  # asked by a probe
    config.vocab_size = len(tokenizer)
    for part in (tokenizer, AutoModelForQuestionAnswering.from_config(config)):
        part.save_pretrained("start")
    return "start"


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 512}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_committed_without_outputs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert len(tagged(notebook, "install")) == len(tagged(notebook, "parameters")) == 1
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]
    assert len(notebook.cells) <= 16


def test_two_lines_prune_a_reader_and_a_classifier(files: dict[str, str]) -> None:
    with open("texts.csv", "w", encoding="utf-8", newline="") as stream:
        rows = [("李明出生于北京", 0), ("王芳出生于上海", 1)] * 4
        csv.writer(stream).writerows([("sentence", "label"), *rows])
    printed = execute(
        "two_lines",
        MODEL=save_start(files, BertConfig(intermediate_size=32, **SMALL)),
        QUESTIONS=files["train"],
        TEXTS={"path": "csv", "data_files": "texts.csv", "split": "train"},
        SAMPLES=8,
        STEPS=4,
        BATCH=2,
    )
    assert printed.count("encoder: 30%") == 2
    assert "→ {'score'" in printed
    for folder in ("pruned", "classifier"):
        assert round(inspect_checkpoint(folder).encoder.density, 2) == 0.3


def test_the_paper_is_trained_and_put_beside_its_figures(files: dict[str, str]) -> None:
    options = {
        "model_name_or_path": save_start(files, AlbertConfig(intermediate_size=32, embedding_size=8, **SMALL)),
        "train_file": files["train"], "validation_file": files["dev"], "max_seq_length": 40, "doc_stride": 8,
        "max_question_length": 16, "max_steps": 6, "fp16": False, "use_cpu": True, "report_to": "none",
        "eval_strategy": "no", "save_strategy": "no",
    }  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in options.items()]
    printed = execute("paper_on_one_gpu", OPTIONS=arguments, OUTPUT="paper", EXPERIMENT=["table9", "--scale", "small"])
    assert "0.796" in printed
    assert "this run" in printed
    assert "table9" in printed
    assert "to run:" in printed
    scores = json.loads(Path("paper/eval_results.json").read_text(encoding="utf-8"))
    assert f"{scores['eval_f1'] / 100:.3f}".rstrip("0") in printed
    assert round(inspect_checkpoint("paper").encoder.density, 2) == 0.3


def test_a_shrunk_model_is_served(files: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # most of the time goes into the feed-forward units, so that what can be removed is what takes long
    shape = {**SMALL, "hidden_size": 64}
    model = save_start(files, BertConfig(intermediate_size=4096, **shape))
    printed = execute("shrink_and_serve", MODEL=model, QUESTIONS=files["train"], EXAMPLES=12, SPEEDUP=1.3, PORT=port)
    assert "times as fast" in printed
    assert "'answers': [{'score'" in printed
    assert "ended with 0" in printed
    assert Path("fast/model.safetensors").stat().st_size < Path("start/model.safetensors").stat().st_size
