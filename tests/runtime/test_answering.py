"""The runtime without torch against the pipeline, in good folders and in broken ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

import transformers_palbert
from tests.references.exported_models import CHINESE, ENGLISH, EXAMPLES, exported, source
from transformers_palbert import ConfigurationError, DatasetFormatError, MissingExtraError, StorageError
from transformers_palbert.runtime import load

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")

KIND_OF = {"onnx": "structured", "openvino": "albert"}
WINDOW = {"max_seq_len": 40, "doc_stride": 10}
PACKAGES = Path(transformers_palbert.__file__).parents[1]


def assert_same(found: Any, expected: Any) -> None:
    """Equal answers; scores are equal up to the rounding of float32."""
    assert isinstance(found, list) == isinstance(expected, list)
    for ours, theirs in zip(
        *((value if isinstance(value, list) else [value]) for value in (found, expected)), strict=True
    ):
        if isinstance(ours, list) or isinstance(theirs, list):
            assert_same(ours, theirs)
        else:
            assert {**ours, "score": 0} == {**theirs, "score": 0}
            assert ours["score"] == pytest.approx(theirs["score"], rel=1e-3, abs=1e-7)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"top_k": 3, "handle_impossible_answer": True},
        {"top_k": 4, "align_to_words": False, "max_answer_len": 3},
        {"top_k": 3, "normalize_over": "document"},
        {"topk": 2, "align_to_words": True, "batch_size": 4},
        {"padding": "max_length", "max_question_len": 3},
    ],
    ids=str,
)
def test_answers_are_those_of_the_pipeline_with_the_model_in_torch(settings: dict[str, Any]) -> None:
    model, tokenizer, _ = source("structured")
    pipe = pipeline("question-answering", model=model, tokenizer=tokenizer, device="cpu")
    assert_same(load(exported("structured"))(EXAMPLES, **WINDOW, **settings), pipe(EXAMPLES, **WINDOW, **settings))


@pytest.mark.parametrize(("kind", "format"), [("roberta", "onnx"), ("albert", "openvino")])
def test_answers_are_those_of_the_pipeline_for_other_kinds(kind: str, format: str) -> None:
    if format == "openvino":
        pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    model, tokenizer, window = source(kind)
    pipe = pipeline("question-answering", model=model, tokenizer=tokenizer, device="cpu")
    names = {"max_seq_length": "max_seq_len", "doc_stride": "doc_stride", "max_question_length": "max_question_len"}
    settings = {names[name]: value for name, value in window.windows.items()}
    assert_same(load(exported(kind, format), threads=1)(EXAMPLES, **settings), pipe(EXAMPLES, **settings))


def test_an_exported_folder_is_a_model_of_the_pipeline() -> None:
    folder = exported("structured")
    pipe = pipeline("question-answering", model=str(folder), device="cpu")
    assert_same(pipe(EXAMPLES, **WINDOW, top_k=2), load(folder)(EXAMPLES, **WINDOW, top_k=2))


def test_whatever_the_pipeline_takes() -> None:
    ask = load(exported("structured"))
    one, several = {"question": "who?", "context": ENGLISH}, {"question": ["who?", "谁？"], "context": CHINESE}
    assert ask(**one) == ask(one) == ask([one]) == ask("who?", ENGLISH) == ask(data=one)
    assert ask(**several) == ask(several) == [ask("who?", CHINESE), ask("谁？", CHINESE)]
    assert list(ask(example for example in [one] * 3)) == [ask(one)] * 3
    assert ask([]) == []
    assert ask(one, batch_size=None, num_workers=2, reduce=None) == ask(one)
    answer = ask(one)
    assert answer["answer"] == ENGLISH[answer["start"] : answer["end"]]


def test_what_is_saved_with_a_model_are_the_defaults(tmp_path: Path) -> None:
    folder = shutil.copytree(exported("structured"), tmp_path / "exported")
    saved = {"max_seq_length": 40, "doc_stride": 12, "max_question_length": 9, "max_answer_length": 4,
             "version_2_with_negative": True}  # fmt: skip
    said = {"max_seq_len": 40, "doc_stride": 12, "max_question_len": 9, "max_answer_len": 4,
            "handle_impossible_answer": True}  # fmt: skip
    change_json(folder / "config.json", question_answering=saved)
    found = load(folder)(EXAMPLES, top_k=3)
    assert found == load(exported("structured"))(EXAMPLES, top_k=3, **said)
    assert_same(pipeline("question-answering", model=str(folder), device="cpu")(EXAMPLES, top_k=3), found)
    change_json(folder / "config.json", question_answering={"stride": 1})
    with pytest.raises(ConfigurationError, match="'stride' is no answering setting"):
        load(folder)


def test_a_generator_is_read_as_needed() -> None:
    read = []

    def examples() -> Any:
        for number in range(1000):
            read.append(number)
            yield {"question": "who?", "context": ENGLISH}

    answers = load(exported("structured"))(examples())
    assert read == []
    next(answers)
    assert len(read) <= 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"question": "who?"}, ConfigurationError, "no `context`"),
        ({"question": "who?", "context": ""}, ConfigurationError, "`context` cannot be empty"),
        ({"question": "who?", "context": "x", "top": 3}, ConfigurationError, r"Unknown argument\(s\) top"),
        ({"question": "who?", "context": "x", "reduce": "lead"}, ConfigurationError, "reads all of a context"),
        ({"question": "who?", "context": "x", "top_k": 0}, ConfigurationError, "`top_k` must be at least 1"),
        ({"question": "who?", "context": "x", "batch_size": 0}, ConfigurationError, "`batch_size` must be at least 1"),
        (
            {"question": "who?", "context": "x", **WINDOW, "doc_stride": 50},
            ConfigurationError,
            "are to share 50 tokens",
        ),
        ({"question": "\ud800?", "context": "x"}, DatasetFormatError, "half of a surrogate pair"),
    ],
)
def test_wrong_calls(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load(exported("structured"))(**arguments)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_threads_share_a_model(format: str) -> None:
    if format == "openvino":
        pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    ask = load(exported(KIND_OF[format], format), threads=1)
    expected = [ask(example, **WINDOW) for example in EXAMPLES]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda example: ask(example, **WINDOW), EXAMPLES * 5)) == expected * 5


# -- folders that hold something else ----------------------------------------------------------------------------------


def change(**values: Any) -> Callable[[Path], None]:
    """Change fields of ``runtime.json``; ``...`` stands for one that goes."""
    return lambda folder: change_json(folder / "runtime.json", **values)


def change_json(file: Path, **values: Any) -> None:
    said = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({name: value for name, value in said.items() if value is not ...}))


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def truncate(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100]) and None


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def another_graph(folder: Path) -> None:
    """A graph that gives back what it takes."""
    import onnx

    ids = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "tokens"])
    out = onnx.helper.make_tensor_value_info("start_logits", onnx.TensorProto.INT64, ["batch", "tokens"])
    node = onnx.helper.make_node("Identity", ["input_ids"], ["start_logits"])
    graph = onnx.helper.make_graph([node], "other", [ids], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "model.onnx")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("runtime.json"), "holds no exported model"),
        (write("runtime.json", b"{"), "runtime.json is damaged"),
        (write("runtime.json", b"[" * 100_000), "nested too deeply"),
        (write("runtime.json", b"[]"), "no JSON object"),
        (change(version=2), "version 2, and this release .* reads version 1"),
        (change(cls_token_id=...), "'cls_token_id' is missing"),
        (change(surprise=1), "'surprise' is unknown"),
        (change(format="../onnx"), r"format='../onnx'. Allowed is 'onnx' or 'openvino'"),
        (change(padding_side=["right"]), "padding_side="),
        (change(model_max_length="512"), "model_max_length='512'"),
        (change(model_max_length=True), "model_max_length=True"),
        (change(pad_token_id=-1), "pad_token_id=-1"),
        (change(model_inputs=["input_ids", "labels"]), "model_inputs="),
        (change(model_inputs=["input_ids"]), "asks for 'attention_mask'"),
        (change(format="openvino"), "openvino_model.xml is missing"),
        (remove("tokenizer.json"), "tokenizer.json is missing"),
        (remove("config.json"), "config.json is missing"),
        (write("config.json", b"{"), "config.json is damaged"),
        (write("tokenizer.json", b"{}"), "tokenizer.json is damaged"),
        (remove("model.onnx.data"), "model.onnx.data is missing"),
        (write("model.onnx", b"no graph"), "model.onnx cannot be loaded"),
        (truncate("model.onnx"), "model.onnx cannot be loaded"),
        (another_graph, "does not give 'end_logits'"),
    ],
)
def test_a_damaged_folder_is_a_clear_error(damage: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = shutil.copytree(exported("structured"), tmp_path / "exported")
    damage(folder)
    with pytest.raises(StorageError, match=message):
        load(folder)


def test_what_is_no_folder() -> None:
    with pytest.raises(StorageError, match="is not a folder"):
        load("./nowhere")
    with pytest.raises(StorageError, match="There is no exported model 'nobody/nothing'"):
        load("nobody/nothing")  # the Hub cannot be reached in tests
    with pytest.raises(ConfigurationError, match="`threads` must be at least 1"):
        load(exported("structured"), threads=0)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_a_missing_runtime_is_named(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if format == "openvino":
        pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    folder = exported(KIND_OF[format], format)
    name = {"onnx": "onnxruntime", "openvino": "openvino"}[format]
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"transformers-palbert\[{format}\]"):
        load(folder)
    with pytest.raises(MissingExtraError, match=rf"transformers-palbert\[{format}\]"):
        pipeline("question-answering", model=str(folder), device="cpu")


# -- environments without torch ----------------------------------------------------------------------------------------

ASK = """
    import json, sys
    from transformers_palbert.runtime import load
    ask = load(sys.argv[1])
    print(json.dumps([ask(**json.loads(sys.argv[2])), sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_torch_and_transformers_are_not_imported() -> None:
    answer, modules = answer_in_process([sys.executable], f"import sys; sys.path.insert(0, {str(PACKAGES)!r})")
    assert_same(answer, load(exported("structured"))(**EXAMPLES[2]))
    assert not {"torch", "transformers", "datasets", "pyarrow", "zstandard", "huggingface_hub"} & set(modules)


def test_an_environment_of_numpy_tokenizers_and_onnxruntime_is_enough(tmp_path: Path) -> None:
    """Only what these distributions themselves installed can be imported, and what onnxruntime cannot do without."""
    for name in ("numpy", "tokenizers", "onnxruntime", "flatbuffers", "protobuf", "packaging"):
        link_distribution(name, tmp_path)
    only = [str(tmp_path), str(PACKAGES)]
    paths = f"import sys; sys.path[:] = [path for path in sys.path if 'site-packages' not in path] + {only}"
    answer, modules = answer_in_process([sys.executable, "-I", "-S"], paths)
    assert_same(answer, load(exported("structured"))(**EXAMPLES[2]))
    assert "torch" not in modules


def link_distribution(name: str, folder: Path) -> None:
    """Let ``folder`` hold the packages of an installed distribution."""
    installed = distribution(name)
    for top in {file.parts[0] for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")}:
        target = folder / top
        if not target.exists():
            target.symlink_to(Path(str(installed.locate_file(top))))


def answer_in_process(command: list[str], before: str) -> Any:
    """What a new process answers, and the top modules that it has imported."""
    script = before + "\n" + textwrap.dedent(ASK)
    arguments = [*command, "-c", script, str(exported("structured")), json.dumps(EXAMPLES[2])]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
