"""Try the installed package as its users do, in an empty folder and without the Hub.

    pip install dist/*.whl
    python .ci/try_installed.py

It asks a tiny model through the pipeline, trains and prunes one with a recipe of the package and another in an ordinary
Trainer script, and lists the experiments. It fails if the package comes from a copy of the repository.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

PALBERT = (sys.executable, "-m", "transformers_palbert")
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def main() -> None:
    """Everything in turn; an error ends it."""
    started = time.monotonic()
    import transformers_palbert

    where = Path(transformers_palbert.__file__).resolve()
    if (where.parents[2] / "setup.cfg").is_file():
        sys.exit(f"error: {where} is the repository's; install the wheel into an environment of its own.")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_data()
        start_model()
        train_by_recipe()
        train_by_script()
        ask("recipe")
        ask("script")
        listed = command("reproduce", "--list")
        assert "table7" in listed, listed
        os.chdir(where.parent)
    print(f"{where.parent}: version {transformers_palbert.__version__} works, {time.monotonic() - started:.0f} s.")


def write_data() -> None:
    """Questions on invented people."""
    from transformers_palbert.qa.invented_facts import make_questions, write_squad

    for part, count in (("train", 8), ("test", 4)):
        write_squad(make_questions(count, part), Path(f"{part}.json"))


def start_model() -> None:
    """A checkpoint with random weights, and a tokenizer that knows the characters of the data."""
    from transformers import AlbertConfig, AlbertForQuestionAnswering, BertTokenizer

    text = "".join(row["context"] for row in questions("train")) + "哪里的家乡是生于一年什么职业工作谁写了本书？"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(text))]
    BertTokenizer(vocab={word: index for index, word in enumerate(words)}).save_pretrained("start")
    config = AlbertConfig(vocab_size=len(words), embedding_size=16, max_position_embeddings=128, **SHAPE)
    AlbertForQuestionAnswering(config).save_pretrained("start")


def questions(part: str) -> list[dict[str, Any]]:
    """The questions of a part, as the package reads them."""
    import transformers_palbert as palbert

    return list(palbert.load_qa_dataset(f"{part}.json"))


def train_by_recipe() -> None:
    """`palbert train` with the paper's recipe, which the package brings; only model, data and size are others."""
    options = {
        "model_name_or_path": "start", "train_file": "train.json", "validation_file": "test.json",
        "output_dir": "recipe", "max_seq_length": 96, "max_question_length": 32, "doc_stride": 16, "max_steps": 6,
        "fp16": False, "use_cpu": True, "report_to": "none", "eval_strategy": "no", "save_strategy": "no",
    }  # fmt: skip
    command("train", "paper_cmrc2018.yaml", *(f"--{name}={value}" for name, value in options.items()))
    scores = json.loads(Path("recipe", "eval_results.json").read_text(encoding="utf-8"))
    assert "eval_f1" in scores, scores
    density = json.loads(Path("recipe", "config.json").read_text(encoding="utf-8"))["pruning"]["density"]
    assert round(density, 3) == 0.3, density


def train_by_script() -> None:
    """An ordinary script, and the two lines that prune its model."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer, Trainer, TrainingArguments

    import transformers_palbert as palbert
    from transformers_palbert.qa.features import build_features

    tokenizer = AutoTokenizer.from_pretrained("start")
    train = build_features(palbert.load_qa_dataset("train.json"), tokenizer, training=True, pad_to_max_length=True,
                           max_seq_length=96, doc_stride=16)  # fmt: skip
    trainer = Trainer(
        model=AutoModelForQuestionAnswering.from_pretrained("start"),
        args=TrainingArguments("script", max_steps=6, use_cpu=True, report_to="none", disable_tqdm=True),
        train_dataset=train,
        processing_class=tokenizer,
        callbacks=[palbert.MovementPruningCallback(target_sparsity=0.7, method="magnitude")],
    )
    trainer.train()
    trainer.save_model()


def ask(folder: str) -> None:
    """The pipeline that transformers 5 dropped gives an answer that stands in the text."""
    from transformers import pipeline

    from transformers_palbert.sizes import inspect_checkpoint

    question = questions("test")[0]
    found = pipeline("question-answering", model=folder, device="cpu")(
        question=question["question"], context=question["context"]
    )
    assert found["answer"] == question["context"][found["start"] : found["end"]], found
    kept = inspect_checkpoint(folder).encoder.density
    assert round(kept, 2) == 0.30, kept


def command(*arguments: str) -> str:
    """What a command of `palbert` prints; an error if it fails."""
    done = subprocess.run([*PALBERT, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: palbert {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
