"""A hostile server names files that lie outside the folder they are to be put in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi, snapshot_download
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from tests.hub.fake_hub import FakeHub

REPO = "me/hostile"
EVIL = b"evil"
NAMES = [
    "../evil",
    "../../evil",
    "../../../../evil",
    "sub/../../../evil",
    "/tmp/evil",
    "..\\..\\evil",
    "C:\\evil",
    "sub/./../../evil",
]


def outside(folder: Path, *allowed: Path) -> list[Path]:
    """Files below ``folder`` that hold what the server sent and lie in none of the ``allowed`` folders."""
    found = [file for file in folder.rglob("*") if file.is_file() and EVIL in file.read_bytes()]
    return [file for file in found if not any(file.resolve().is_relative_to(place.resolve()) for place in allowed)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("local", [True, False], ids=["folder", "cache"])
def test_a_snapshot_stays_in_its_folder(hub: FakeHub, tmp_path: Path, name: str, local: bool) -> None:
    name = name.replace("/tmp", str(tmp_path))
    hub.create(REPO, files={name: EVIL, "good.txt": b"good"})
    assert name in HfApi().list_repo_files(REPO)
    target = tmp_path / "a" / "b" / "c" / "target"
    target.mkdir(parents=True)
    try:
        snapshot_download(REPO, **({"local_dir": target} if local else {"cache_dir": target}))
    except (ValueError, OSError):
        pass  # refused: so much the better
    else:
        assert list(target.rglob("*good.txt"))
    assert not outside(tmp_path, target)
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("name", NAMES)
def test_an_index_cannot_name_shards_outside(hub: FakeHub, tmp_path: Path, name: str) -> None:
    """``from_pretrained`` fetches the files that the index names."""
    name = name.replace("/tmp", str(tmp_path))
    config = {"model_type": "palbert", "vocab_size": 30, "hidden_size": 16, "num_attention_heads": 2}
    index = {"metadata": {"total_size": 4}, "weight_map": {"qa_outputs.weight": name}}
    files = {"config.json": json.dumps(config), "model.safetensors.index.json": json.dumps(index)}
    hub.create(REPO, files={name: EVIL, **{key: value.encode() for key, value in files.items()}})
    cache = tmp_path / "a" / "b" / "cache"
    with pytest.raises(Exception, match=r".") as error:
        AutoModelForQuestionAnswering.from_pretrained(REPO, cache_dir=cache)
    assert not isinstance(error.value, MemoryError)
    assert not outside(tmp_path, cache)


def test_a_tokenizer_cannot_name_files_outside(hub: FakeHub, tmp_path: Path) -> None:
    config = {"tokenizer_class": "PalBertTokenizer", "auto_map": {"AutoTokenizer": ["../../evil.Tokenizer", None]}}
    files = {"config.json": {"model_type": "palbert"}, "tokenizer_config.json": config}
    encoded = {name: json.dumps(value).encode() for name, value in files.items()}
    hub.create(REPO, files={**encoded, "../../evil.py": EVIL})
    cache = tmp_path / "a" / "b" / "cache"
    with pytest.raises((ValueError, OSError)):
        AutoTokenizer.from_pretrained(REPO, cache_dir=cache)
    assert not outside(tmp_path, cache)


def test_code_of_a_repository_is_not_run(hub: FakeHub, tmp_path: Path) -> None:
    """Nor is a pickle of weights opened: without safetensors, and with code beside it, there is nothing to load."""
    code = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    config = {"model_type": "palbert", "auto_map": {"AutoModelForQuestionAnswering": "evil.Model"}}
    files = {"config.json": json.dumps(config).encode(), "evil.py": code.encode(), "training_args.bin": EVIL}
    hub.create(REPO, files=files)
    with pytest.raises((ValueError, OSError)):
        AutoModelForQuestionAnswering.from_pretrained(REPO)
    assert not (tmp_path / "ran").exists()
    assert not any("training_args" in request for request in hub.requests)
