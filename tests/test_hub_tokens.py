from __future__ import annotations

import copy
import pickle

import pytest
import torch
from transformers import TrainerControl, TrainerState

from tests.pruning.helpers import training_arguments
from transformers_palbert.hub_tokens import SecretToken, hide_token, redact
from transformers_palbert.pruning import MovementPruningCallback
from transformers_palbert.training.time_limit import StopInTime

TOKEN = "hf_" + "Ab1" * 11


def test_a_secret_token_is_the_token_where_it_is_used() -> None:
    token = SecretToken(TOKEN)
    assert token == TOKEN
    assert f"Bearer {token}" == f"Bearer {TOKEN}"
    assert copy.deepcopy(token) == copy.copy(token) == TOKEN


def test_a_secret_token_is_not_in_its_repr_or_pickle() -> None:
    assert TOKEN not in repr(SecretToken(TOKEN))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps({"token": SecretToken(TOKEN)}, protocol)
        assert TOKEN.encode() not in data
        assert pickle.loads(data) == {"token": None}


def test_pickled_training_arguments_hold_no_token(tmp_path) -> None:  # type: ignore[no-untyped-def]
    args = training_arguments(tmp_path, hub_token=TOKEN)
    torch.save(args, tmp_path / "stock.bin")
    assert TOKEN.encode() in (tmp_path / "stock.bin").read_bytes()  # else hiding it has become needless
    hide_token(args)
    torch.save(args, tmp_path / "ours.bin")
    assert TOKEN.encode() not in (tmp_path / "ours.bin").read_bytes()
    assert torch.load(tmp_path / "ours.bin", weights_only=False).hub_token is None
    assert args.hub_token == TOKEN


@pytest.mark.parametrize("callback", [MovementPruningCallback(target_sparsity=0.5), StopInTime(60)])
def test_every_callback_hides_the_token_of_a_stock_trainer(tmp_path, callback) -> None:  # type: ignore[no-untyped-def]
    args = training_arguments(tmp_path, hub_token=TOKEN)
    callback.on_init_end(args, TrainerState(), TrainerControl(), model=None)
    torch.save(args, tmp_path / "training_args.bin")
    assert TOKEN.encode() not in (tmp_path / "training_args.bin").read_bytes()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"token={TOKEN},", "token=***,"),
        (f"https://me:{TOKEN}@huggingface.co/me/model", "https://***@huggingface.co/me/model"),
        ("https://me:secret@example.org/train.json", "https://***@example.org/train.json"),
        (f"hf_oauth_{TOKEN[3:]}.a-b_c, hf_jwt_{TOKEN[3:]} and api_org_{TOKEN[3:]}", "***, *** and ***"),
        (
            "hf_question_answering, hf_token_classification_model",
            "hf_question_answering, hf_token_classification_model",
        ),
        ("write to me@example.org about hf_hub", "write to me@example.org about hf_hub"),
        ("https://huggingface.co/me/model@main", "https://huggingface.co/me/model@main"),
    ],
)
def test_redact(text: str, clean: str) -> None:
    assert redact(text) == clean


def test_redact_knows_the_tokens_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "unusual-form-1")
    assert redact("a unusual-form-1 b unusual-form-2", ["unusual-form-2", None, ""]) == "a *** b ***"


def test_a_value_that_is_no_token_leaves_words_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "test")
    assert redact("tested on test.json") == "tested on test.json"
