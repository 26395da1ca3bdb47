"""What a user does, in processes of their own that know the Hub by ``HF_ENDPOINT`` alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hub.fake_hub import FakeHub
from tests.hub.helpers import CONTEXT, make_tokenizer, questions

ROOT = Path(__file__).parents[2]
SHAPE = "hidden_size=32,embedding_size=16,num_hidden_layers=2,num_attention_heads=2,intermediate_size=64"
ASK = f"""
import transformers_palbert
from transformers import AutoModelForQuestionAnswering, pipeline
AutoModelForQuestionAnswering.from_pretrained("me/model")
print(pipeline("question-answering", model="me/model")(question="李明住在哪里？", context={CONTEXT!r})["answer"])
"""


def run(command: list[str], hub: FakeHub, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1" if hub.lfs else "0",
        "NO_PROXY": "127.0.0.1",
        "PYTHONWARNINGS": "ignore",
        **variables,
    }
    environment = {name: value for name, value in environment.items() if value}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Any:
    with FakeHub(lfs=request.param == "lfs") as hub:
        yield hub


@pytest.mark.parametrize("server", ["lfs"], indirect=True)
def test_train_and_push_in_one_process_and_ask_in_another(server: FakeHub, tmp_path: Path) -> None:
    """With tokens in every place that takes one; none comes out in logs, in cards, or in any pushed or written file."""
    hub = server
    make_tokenizer(tmp_path)
    questions().to_json(tmp_path / "train.jsonl", force_ascii=False)
    output = tmp_path / "model"
    options = {
        "tokenizer_name": tmp_path / "vocab.txt",
        "config_overrides": SHAPE,
        "train_file": tmp_path / "train.jsonl",
        "validation_file": tmp_path / "train.jsonl",
        "metric": "cmrc2018",
        "max_steps": 4,
        "save_strategy": "steps",
        "save_steps": 2,
        "target_sparsity": 0.7,
        "report_to": "tensorboard",
        "log_level": "debug",
        "output_dir": output,
        "hub_strategy": "checkpoint",
        "hub_token": hub.token,
        "token": hub.token,
    }
    flags = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    flags += ["--do_train", "--do_eval", "--push_to_hub", "--push_logs", "--use_cpu"]
    script = str(ROOT / "examples" / "run_qa.py")
    done = run([script, *flags], hub, tmp_path / "home", HF_TOKEN=hub.token, HF_DEBUG="1")
    assert done.returncode == 0, done.stderr[-3000:]

    token = hub.token.encode()
    assert hub.token not in done.stdout + done.stderr
    written = {str(file): file.read_bytes() for file in output.rglob("*") if file.is_file()}
    everything = {**hub.everything(), **written}
    assert len(everything) > 30
    assert not [name for name, content in everything.items() if token in content]

    files = hub.repos["me/model"].files()
    assert any(path.startswith("runs/") for path in files)  # as --push_logs asks
    card = files["README.md"].decode()
    assert "train.jsonl, 4 questions" in card
    assert "| this model |" in card
    asked = run(["-c", ASK], hub, tmp_path / "other-home", HF_TOKEN=hub.token)
    assert asked.returncode == 0, asked.stderr[-3000:]
    assert asked.stdout.strip() in CONTEXT
