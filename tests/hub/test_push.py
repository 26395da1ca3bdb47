"""What is pushed, through the real client and over real HTTP, comes back as it was."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, pipeline

from tests.hub.fake_hub import FakeHub
from tests.hub.helpers import CONTEXT, logits, make_tokenizer, qa_trainer, stock_trainer
from tests.pruning.helpers import tiny_model
from transformers_palbert import KeptUnits, PalBertForQuestionAnswering, remove_units
from transformers_palbert.baselines.tokenization import build_word_tokenizer
from transformers_palbert.hub.card_on_push import attach_card, card_of
from transformers_palbert.hub.push import folder_operations, snapshot_operations
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.pruning.metric_guard import LAST_GOOD_FILE
from transformers_palbert.storage.config import StorageConfig
from transformers_palbert.storage.model_files import LOGS, PUSHED
from transformers_palbert.storage.saving import disable_sparse_saving, enable_sparse_saving

REPO = "me/model"
PICKLE = re.compile(r"\.(bin|pt|pth|pkl|pickle)$")
both = pytest.mark.parametrize("hub", ["regular", "lfs"], indirect=True)


def packed(content: bytes) -> set[str]:
    """Names of the matrices in a safetensors file that are stored packed."""
    return {name for name, tensor in load(content).items() if tensor.dtype == torch.uint8 and tensor.dim() == 1}


@both
def test_a_trained_model_comes_back(hub: FakeHub, tmp_path: Path) -> None:
    trainer = qa_trainer(tmp_path / "model", report_to="tensorboard", logging_steps=2)
    trainer.push_logs = True
    trainer.train()
    metrics = trainer.evaluate()
    trainer.push_to_hub(dataset_tags="hfl/cmrc2018", language="zh")

    files = hub.repos[REPO].files()
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "training.png"} <= files.keys()
    assert any(path.startswith("runs/") and "tfevents" in path for path in files)
    assert not [path for path in files if PICKLE.search(path)]
    assert bool(hub.blobs) is hub.lfs
    assert len(hub.repos[REPO].messages) == 2  # the Hub's own, and one for everything

    model = AutoModelForQuestionAnswering.from_pretrained(REPO)
    assert isinstance(model, PalBertForQuestionAnswering)
    assert torch.equal(logits(model), logits(trainer.model))
    answer = pipeline("question-answering", model=REPO)(question="李明住在哪里？", context=CONTEXT)
    assert answer["answer"] == CONTEXT[answer["start"] : answer["end"]]

    card = ModelCard.load(REPO)
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results == pytest.approx({"f1": metrics["eval_f1"], "exact_match": metrics["eval_em"]}, abs=1e-4)
    assert card.data.language == "zh"
    assert f'model="{REPO}"' in card.text


@both
def test_a_stock_trainer_pushes_the_same(hub: FakeHub, tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path / "model", report_to="tensorboard", hub_token=hub.token)
    trainer.train()
    trainer.evaluate()
    (tmp_path / "model" / LAST_GOOD_FILE).write_bytes(b"a dense copy, for max_metric_drop")
    trainer.push_to_hub()
    files = hub.repos[REPO].files()
    assert any(path.startswith("runs/") for path in files)
    assert LAST_GOOD_FILE not in files
    assert packed(files["model.safetensors"])
    assert not [path for path, content in files.items() if hub.token.encode() in content]
    model = AutoModelForQuestionAnswering.from_pretrained(REPO)
    assert torch.equal(logits(model), logits(trainer.model))
    assert AutoTokenizer.from_pretrained(REPO).tokenize("李明") == ["李", "明"]
    text = files["README.md"].decode()
    assert "target_sparsity" in text
    assert "| this model |" in text  # evaluated after training, so known to be of these weights


def test_without_the_card_callback_a_stock_trainer_writes_its_own_card(hub: FakeHub, tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path / "model", card=False)
    trainer.train()
    trainer.push_to_hub()
    assert "generated_from_trainer" in hub.repos[REPO].files()["README.md"].decode()


def test_a_model_takes_its_card_along(hub: FakeHub, tmp_path: Path) -> None:
    trainer = qa_trainer(tmp_path / "out", eval_strategy="no", eval_on_start=False)
    trainer.train()
    assert "No result of exactly these weights is known." in card_of(trainer.model)
    metrics = trainer.evaluate()
    trainer.model.push_to_hub(REPO)
    make_tokenizer(tmp_path / "vocabulary").push_to_hub(REPO)
    text = hub.repos[REPO].files()["README.md"].decode()
    assert text == card_of(trainer.model)
    assert f"{metrics['eval_f1']:.4g}" in text
    assert torch.equal(logits(AutoModelForQuestionAnswering.from_pretrained(REPO)), logits(trainer.model))
    assert pipeline("question-answering", model=REPO)(question="谁？", context=CONTEXT)["answer"]


def test_a_stock_model_takes_its_card_along_through_copies(hub: FakeHub, tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path / "model")
    trainer.train()
    copied = copy.deepcopy(trainer.model)
    pickled = pickle.loads(pickle.dumps(trainer.model))
    card = card_of(trainer.model)
    assert card is not None
    for model in (trainer.model, copied, pickled):
        assert card_of(model) == card
        attach_card(model, f"{card}\n{id(model)}")
        model.push_to_hub(REPO)
        assert hub.repos[REPO].files()["README.md"].decode().endswith(str(id(model)))
    attach_card(copied, None)
    assert card_of(copied) is None


def test_a_model_without_a_card_pushes_the_bare_one(hub: FakeHub, tmp_path: Path) -> None:
    trainer = qa_trainer(tmp_path / "out", max_steps=2, eval_strategy="no", eval_on_start=False)
    trainer.model.push_to_hub(REPO)
    assert "automatically generated" in hub.repos[REPO].files()["README.md"].decode()


@both
@pytest.mark.parametrize("values", ["auto", "float16", "int8"])
def test_what_is_pushed_is_packed(hub: FakeHub, tmp_path: Path, values: str) -> None:
    """Bytes on the server: at most the kept values, one bit per weight, and a little per matrix."""
    trainer = qa_trainer(tmp_path / "model", eval_strategy="no", eval_on_start=False)
    trainer.train()
    enable_sparse_saving(trainer.model, StorageConfig(values=values))
    trainer.push_to_hub()
    files = hub.repos[REPO].files()
    model = trainer.model
    matrices = {
        name: weight for name, weight in model.named_parameters() if name.removesuffix(".weight") in _targets(model)
    }
    assert matrices
    assert matrices.keys() <= packed(files["model.safetensors"])
    size = {"auto": 4, "float16": 2, "int8": 1}[values]
    stored = load(files["model.safetensors"])
    for name, weight in matrices.items():
        rows = 4 * len(weight) if values == "int8" else 0
        most = size * int(torch.count_nonzero(weight)) + -(-weight.numel() // 8) + rows + 128
        assert stored[name].numel() <= min(most, weight.numel() * size + rows + 128)
    text = files["README.md"].decode()
    assert f"| bytes of the weights' file | {len(files['model.safetensors']):,} |" in text
    again = AutoModelForQuestionAnswering.from_pretrained(REPO)
    assert torch.equal(logits(again), logits(model))
    again.push_to_hub("me/again")
    pushed = load(hub.repos["me/again"].files()["model.safetensors"])  # not the file's bytes: metadata has no order
    assert pushed.keys() == stored.keys()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in pushed.items())


@both
@pytest.mark.parametrize("packs", [True, False])
def test_layers_of_different_sizes_are_pushed(hub: FakeHub, packs: bool) -> None:
    model = tiny_model("bert")
    first, second, _ = layer_sizes(model)
    remove_units(model, {first: KeptUnits([], None), second: KeptUnits([1], [])})
    (enable_sparse_saving if packs else disable_sparse_saving)(model)
    model.push_to_hub(REPO)
    loaded = AutoModelForQuestionAnswering.from_pretrained(REPO)
    assert layer_sizes(loaded) == layer_sizes(model)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert set(hub.repos[REPO].files()) >= {"config.json", "model.safetensors"}


def _targets(model: torch.nn.Module) -> list[str]:
    return model.config.pruning["targets"]  # type: ignore[union-attr, index, return-value]


# -- private, branches, rights -----------------------------------------------------------------------------------------


def test_a_private_model(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = qa_trainer(tmp_path / "model", max_steps=2, hub_private_repo=True)
    trainer.train()
    trainer.push_to_hub()
    assert hub.repos[REPO].private
    assert torch.equal(logits(AutoModelForQuestionAnswering.from_pretrained(REPO)), logits(trainer.model))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OSError, match=r"private repository|gated|token"):
        AutoModelForQuestionAnswering.from_pretrained(REPO, cache_dir=tmp_path / "nobody")
    with pytest.raises(OSError, match=r"private repository|gated|token"):
        AutoModelForQuestionAnswering.from_pretrained(REPO, token=hub.strangers_token, cache_dir=tmp_path / "somebody")
    own = AutoModelForQuestionAnswering.from_pretrained(REPO, token=hub.token, cache_dir=tmp_path / "me")
    assert torch.equal(logits(own), logits(trainer.model))


def test_branches(hub: FakeHub, tmp_path: Path) -> None:
    """``hub_revision`` and ``revision`` name branches, which are made where they are missing."""
    trainer = qa_trainer(tmp_path / "model", max_steps=2, hub_revision="half")
    trainer.train()
    trainer.push_to_hub()
    with torch.no_grad():
        trainer.model.qa_outputs.bias += 1
    trainer.push_to_hub(revision="v2")
    trainer.model.push_to_hub(REPO, revision="v3")
    files = hub.repos[REPO]
    assert set(files.branches) == {"main", "half", "v2", "v3"}
    assert "model.safetensors" not in files.files("main")
    half, other, third = (
        logits(AutoModelForQuestionAnswering.from_pretrained(REPO, revision=name)) for name in ("half", "v2", "v3")
    )
    assert torch.equal(other, logits(trainer.model))
    assert torch.equal(third, other)
    assert not torch.equal(half, other)
    with pytest.raises(OSError, match="v4"):
        AutoModelForQuestionAnswering.from_pretrained(REPO, revision="v4")


def test_a_wrong_token_is_an_error(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = qa_trainer(tmp_path / "model")
    with pytest.raises(HfHubHTTPError, match="401"):
        trainer.push_to_hub(token="hf_" + "x" * 34)
    assert REPO not in hub.repos
    monkeypatch.setenv("HF_TOKEN", hub.strangers_token)
    hub.create(REPO)
    trainer.hub_model_id = REPO
    with pytest.raises(HfHubHTTPError, match="403"):
        trainer.push_to_hub()
    assert hub.repos[REPO].files().keys() == {".gitattributes"}


def test_a_name_that_somebody_else_has_is_an_error(hub: FakeHub, tmp_path: Path) -> None:
    hub.create("somebody/model", files={"config.json": b"{}"})
    trainer = qa_trainer(tmp_path / "model", hub_model_id="somebody/model")
    with pytest.raises(HfHubHTTPError, match="403"):
        trainer.push_to_hub()
    assert hub.repos["somebody/model"].files()["config.json"] == b"{}"


def test_an_own_name_is_pushed_over(hub: FakeHub, tmp_path: Path) -> None:
    """What an earlier push left and would now be wrong goes: other shards, pickles. What is not ours stays."""
    old = {"model-00001-of-00002.safetensors": b"1", "model.safetensors.index.json": b"2", "training_args.bin": b"3"}
    hub.create(REPO, files={**old, "notes.md": b"4", "onnx/model.safetensors": b"5"})
    trainer = qa_trainer(tmp_path / "model")
    trainer.push_to_hub()
    files = hub.repos[REPO].files()
    assert not old.keys() & files.keys()
    assert files["notes.md"] + files["onnx/model.safetensors"] == b"45"


# -- strategies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["end", "every_save", "checkpoint", "all_checkpoints"])
def test_strategies(hub: FakeHub, tmp_path: Path, strategy: str) -> None:
    options = {"push_to_hub": True, "save_strategy": "steps", "save_steps": 3, "hub_always_push": True}
    trainer = qa_trainer(tmp_path / "model", hub_strategy=strategy, report_to="tensorboard", **options)
    trainer.push_logs = True
    trainer.train()
    repo = hub.repos[REPO]
    pushed = [message for message in repo.messages if message.startswith("Training in progress")]
    assert len(pushed) == (0 if strategy == "end" else 2)
    if pushed:  # a dense snapshot that loads; its weights are those of the checkpoint
        snapshot = AutoModelForQuestionAnswering.from_pretrained(REPO)
        local = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "model" / "checkpoint-6")
        assert torch.equal(logits(snapshot), logits(local))
        assert any(path.startswith("runs/") for path in repo.files())
    enable_sparse_saving(trainer.model)
    trainer.push_to_hub()
    files = repo.files()
    assert packed(files["model.safetensors"])  # the last state is never dense
    assert torch.equal(logits(AutoModelForQuestionAnswering.from_pretrained(REPO)), logits(trainer.model))
    assert not [path for path in files if "/" not in path and PICKLE.search(path)]
    folders = {path.split("/")[0] for path in files if path.endswith("optimizer.pt")}
    kept = {"checkpoint": {"last-checkpoint"}, "all_checkpoints": {"checkpoint-3", "checkpoint-6"}}
    assert folders == kept.get(strategy, set())


def test_going_on_from_the_pushed_checkpoint(hub: FakeHub, tmp_path: Path) -> None:
    """The machine is lost after step 3; another one ends the run, bit for bit as the first would have."""
    options = {"save_strategy": "steps", "save_steps": 3, "weight_decay": 0.1}
    whole = qa_trainer(tmp_path / "whole", **options)
    whole.train()

    class LostMachineError(Exception):
        pass

    first = qa_trainer(tmp_path / "model", push_to_hub=True, hub_strategy="checkpoint", hub_token=hub.token, **options)
    step = first.training_step

    def lost(*args: object, **kwargs: object) -> torch.Tensor:
        if first.state.global_step == 4:
            first._finish_current_push()
            raise LostMachineError
        return step(*args, **kwargs)

    first.training_step = lost
    with pytest.raises(LostMachineError):
        first.train()

    folder = snapshot_download(REPO, allow_patterns="last-checkpoint/*", local_dir=tmp_path / "fetched")
    second = qa_trainer(tmp_path / "second", **options)
    second.train(resume_from_checkpoint=str(Path(folder) / "last-checkpoint"))
    state = whole.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in second.model.state_dict().items())
    second.create_model_card()
    assert "from step 3, where it was resumed" in (tmp_path / "second" / "README.md").read_text(encoding="utf-8")
    config = json.loads(hub.repos[REPO].files()["config.json"])
    assert config["pruning"]["status"] == "training"


def test_a_push_in_the_background(hub: FakeHub, tmp_path: Path) -> None:
    trainer = qa_trainer(tmp_path / "model")
    hub.fail("POST .*/commit/", pause=0.2)
    job = trainer.push_to_hub(blocking=False)
    commit = job.result(timeout=30)
    assert hub.repos[REPO].branches["main"] == commit.oid
    assert HfApi().model_info(REPO).sha == commit.oid


def test_a_log_that_grows_while_it_is_pushed(tmp_path: Path) -> None:
    """The checksum is taken when the push begins; what is sent later must be of the same bytes."""
    log = tmp_path / "output" / "runs" / "events.out.tfevents.1"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"one")
    (tmp_path / "checkpoint-1").mkdir()
    (operation,) = snapshot_operations(tmp_path / "checkpoint-1", tmp_path / "output", logs=True)
    with log.open("ab") as writer:
        writer.write(b"two")
    with operation.as_file() as file:
        assert len(file.read()) == operation.upload_info.size == 3


def test_only_what_is_part_of_a_model_is_pushed(tmp_path: Path) -> None:
    pushed = {
        "config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json",
        "vocab.txt", "README.md", "training.png", "eval_results.json", "LICENSE",
    }  # fmt: skip
    logs = {"runs/now/events.out.tfevents.1"}
    left = {
        "_copy.safetensors", "below/_copy.safetensors", "checkpoint-3/config.json", "trial/checkpoint-3/config.json",
        "stock/model.safetensors", ".env", "below/.env", ".cache/x", "training_args.bin", "below/x.pkl", "x.joblib",
        "eval_predictions.json", "eval_nbest_predictions.json", "id_rsa", "nohup.out", "wandb/run-1/config.yaml",
        "notes.md", "script.py", "trainer_state.json", "runs/now/notes.txt", "below/README.md", "secrets.json",
        ".previous-model.safetensors", ".palbert-saving-x/model.safetensors", "best.safetensors",
    }  # fmt: skip
    for name in pushed | logs | left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    assert {operation.path_in_repo for operation in folder_operations(tmp_path)} == pushed
    assert {operation.path_in_repo for operation in folder_operations(tmp_path, (*PUSHED, *LOGS))} == pushed | logs
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "script.Model"}}')
    assert {operation.path_in_repo for operation in folder_operations(tmp_path)} == {*pushed, "script.py"}


def test_what_links_lead_to_is_not_pushed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "home", tmp_path / "output"
    for name in ("vocab.txt", "runs/now/events.out.tfevents.1"):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_bytes(b"precious")
    folder.mkdir()
    (folder / "config.json").write_bytes(b"{}")
    (folder / "vocab.txt").symlink_to(outside / "vocab.txt")
    (folder / "runs").symlink_to(outside / "runs")
    assert {operation.path_in_repo for operation in folder_operations(folder, (*PUSHED, *LOGS))} == {"config.json"}


def test_the_tokenizers_of_the_package_are_pushed_whole(tmp_path: Path) -> None:
    words = build_word_tokenizer(["one two", "two three"], segmentation="whitespace", min_count=1)
    for name, tokenizer in {"characters": make_tokenizer(tmp_path / "made"), "words": words}.items():
        saved = {Path(file).name for file in tokenizer.save_pretrained(tmp_path / name)}
        saved = {file for file in saved if (tmp_path / name / file).is_file()}
        assert saved == {operation.path_in_repo for operation in folder_operations(tmp_path / name)} != set()


def test_logs_stay_at_home_unless_they_are_asked_for(hub: FakeHub, tmp_path: Path) -> None:
    options = {"push_to_hub": True, "save_strategy": "steps", "save_steps": 3, "hub_strategy": "every_save"}
    trainer = qa_trainer(tmp_path / "model", report_to="tensorboard", logging_steps=2, **options)
    trainer.train()
    (tmp_path / "model" / "id_rsa").write_text("precious")
    assert list((tmp_path / "model" / "runs").rglob("*tfevents*"))
    trainer.push_to_hub()
    assert not [path for path in hub.repos[REPO].files() if path.startswith("runs") or path == "id_rsa"]
