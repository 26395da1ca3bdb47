"""Write the cards in this folder from recipes and result files, so that no figure is ever typed.

python model_cards/render.py            # write them
python model_cards/render.py --check    # fail if one is not up to date
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from transformers_palbert.hub import CardSizes, Evaluation, PalBertCard
from transformers_palbert.hub.examples import EXAMPLES
from transformers_palbert.training.recipe_files import find_recipe

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
RESULTS = ROOT / "benchmarks" / "results"
NOT_RUN = ("paper_cmrc2018",)
"""Recipes of the package that no result file belongs to."""

DENSE = ("dense", "dense_longer")
"""Runs that a pruned one is compared with: the model it began as, and that model trained on for as long."""


@dataclass(frozen=True)
class Held:
    """A model whose weights lie in a folder of their own beside the cards.

    Attributes:
        name: The folder.
        model: What ``benchmarks/results/end_to_end.json`` calls it; the first model of that file is the dense one.
        run: The run of ``benchmarks/results/structure.json`` that trained it.
        control: The run there that trained the dense model for as long.
    """

    name: str
    model: str
    run: str
    control: str


HELD = (Held("minilm-squad-fast", "structured", "shrunk_2.0_teacher_2_epochs", "whole_1.0_alone_2_epochs"),)
STORED = "packed int8"
"""The way in which the weights of these models are stored, as ``end_to_end.json`` calls it."""

NO_HYPERPARAMETER = {
    "dataset_name", "do_eval", "do_train", "eval_strategy", "eval_steps", "further_metrics", "logging_steps", "metric",
    "model_name_or_path", "output_dir", "report_to", "save_steps", "save_strategy", "save_total_limit",
    "teacher_name_or_path", "use_cpu",
}  # fmt: skip
PRUNING = {
    "target_sparsity": "target_sparsity",
    "pruning_method": "method",
    "pruning_granularity": "granularity",
    "pruning_scope": "scope",
    "pruning_schedule": "schedule",
    "pruning_warmup": "warmup",
    "pruning_cooldown": "cooldown",
}
"""Option of the training script -> its name in a card."""


def recipe_card(name: str) -> PalBertCard:
    """The card of a recipe that was not run."""
    recipe = _recipe(find_recipe(f"{name}.yaml"))
    return PalBertCard(
        model_name=name,
        base_model=recipe["model_name_or_path"],
        datasets=[recipe["dataset_name"]],
        training_data=recipe["dataset_name"],
        hyperparameters=_hyperparameters(recipe),
        pruning=_pruning(recipe),
        command=f"palbert train {name}.yaml",
        is_recipe=True,
    )


def run_card(result: dict[str, Any], run: dict[str, Any]) -> PalBertCard:
    """The card of one run of the benchmark."""
    recipe = run["settings"] if "settings" in run else _settings_of(run["command"])
    pruned = "target_sparsity" in recipe
    dense = [other for other in result["runs"] if other["name"] in DENSE]
    others = [*result["baselines"], *(dense if pruned else [])]
    return PalBertCard(
        model_name=f"cmrc2018_{run['name']}",
        description=[
            "A small ALBERT that began with random weights; its rounds of training are in `benchmarks/cmrc2018.py`. Its"
            " figures compare ways of pruning, and say nothing of a pretrained model. Its weights are not published."
        ],
        training_data=Path(recipe["train_file"]).name,
        evaluation_data=Path(recipe["validation_file"]).name,
        example=EXAMPLES["zh"],
        hyperparameters={**result["model"], **_hyperparameters(recipe), "optimizer_steps": run["optimizer_steps"]},
        pruning=_pruning(recipe) if pruned else {},
        sizes=CardSizes(
            encoder_density=run["density_encoder"],
            parameters=run["parameters"],
            parameters_nonzero=run["parameters_nonzero"],
            file_bytes=run["file_bytes"],
        ),
        evaluation=_evaluation(run, "this model"),
        comparisons=[_evaluation(other, other["name"].replace("_", " ")) for other in others],
        hardware=_place(result),
        versions=_versions(result),
        training_seconds=run["seconds"],
        command=run["command"],
    )


def held_card(held: Held) -> PalBertCard:
    """The card of a model that lies here: its scores are those of the file that lies here."""
    measured, training = _result("end_to_end"), _result("structure")
    questions = _result("squad_pruning")["training_questions"]
    rows = {(row["model"], row["stored"]): row for row in measured["runs"]}
    dense, saved, packed = measured["runs"][0], rows[held.model, "as saved"], rows[held.model, STORED]
    runs = {run["name"]: run for run in training["runs"]}
    run, longer = runs[held.run], runs[held.control]
    return PalBertCard(
        model_name=held.name,
        base_model="sentence-transformers/all-MiniLM-L6-v2",
        language="en",
        license="apache-2.0",
        description=[_how_it_was_made(dense, packed, measured["length"]), LICENCES],
        training_data=f"{questions:,} {SQUAD_TRAINING}",
        evaluation_data="the whole dev set of SQuAD 1.1, 10,570 questions, in float32",
        hyperparameters={**_hyperparameters(run["settings"]), "optimizer_steps": run["optimizer_steps"]},
        sizes=CardSizes(
            encoder=packed["parameters_encoder"], parameters=packed["parameters"], file_bytes=packed["file_bytes"]
        ),
        evaluation=_evaluation(packed, "this model, packed with int8 values"),
        comparisons=[
            _evaluation(dense, f"the dense model, {dense['file_bytes'] / 1e6:.1f} MB"),
            _evaluation(longer, "the dense model, trained on for as long as this one, without a teacher"),
            _evaluation(saved, f"this model before it was packed, {saved['file_bytes'] / 1e6:.1f} MB"),
        ],
        hardware=_place(training),
        versions=_versions(training),
        training_seconds=run["seconds"],
        command=run["command"],
        loads_without_package=False,
    )


SQUAD_TRAINING = (
    "questions: SQuADShifts (new Wikipedia articles and Amazon reviews) and a part of SQuAD 1.1's training set"
)
LICENCES = (
    "The encoder is all-MiniLM-L6-v2 (Apache-2.0). The questions it was trained on are under CC BY-SA 4.0 (SQuAD 1.1)"
    " and CC BY 4.0 (SQuADShifts); none of their text is in this folder."
)


def _how_it_was_made(dense: dict[str, Any], packed: dict[str, Any], length: int) -> str:
    times = " and ".join(
        f"{dense[name] / packed[name]:.2f} times as fast as it with {windows} window{'s' if windows > 1 else ''}"
        for windows in (1, 8)
        if (name := f"milliseconds_{windows}")
    )
    return (
        "Heads and feed-forward units of a fine-tuned model were removed (`palbert shrink`), the rest was trained with"
        " that model as teacher, and packed (`palbert compress --values int8 --entropy`). It has"
        f" {packed['parameters_encoder'] / dense['parameters_encoder']:.0%} of the dense model's encoder, and computes"
        f" {times} of {length} tokens at a time (PyTorch, float32, on a CPU). The dense model had been trained for one"
        " epoch, and what is left of it for two more; the results have the dense model trained on for two as well."
    )


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _place(result: dict[str, Any]) -> str:
    hardware = result["hardware"]
    return str(hardware["gpu"] or f"{hardware['cores']} cores of {hardware['processor']}")


def _versions(result: dict[str, Any]) -> dict[str, str]:
    return {name: result["versions"][name] for name in ("python", "transformers", "torch", "accelerate", "datasets")}


def _recipe(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def _settings_of(command: str) -> dict[str, Any]:
    """The settings of a run that was recorded without them: its command names a recipe and ``--name value`` options."""
    words = shlex.split(command)
    flags = dict(zip(words[3::2], words[4::2], strict=True))
    return {**_recipe(ROOT / words[2]), **{name.removeprefix("--"): value for name, value in flags.items()}}


def _hyperparameters(recipe: dict[str, Any]) -> dict[str, Any]:
    left_out = {*NO_HYPERPARAMETER, *PRUNING, "train_file", "validation_file"}
    return {name: value for name, value in recipe.items() if name not in left_out}


def _pruning(recipe: dict[str, Any]) -> dict[str, Any]:
    return {card: recipe[option] for option, card in PRUNING.items() if option in recipe}


def _evaluation(row: dict[str, Any], name: str) -> Evaluation:
    return Evaluation(name, {"f1": row["f1"], "em": row["em"]})


def cards() -> dict[str, str]:
    """Every card, by its path in this folder."""
    result = _result("cmrc2018_pruning")
    made = [recipe_card(name) for name in NOT_RUN] + [run_card(result, run) for run in result["runs"]]
    held = {f"{model.name}/README.md": held_card(model).render() for model in HELD}
    return {**{f"{card.model_name}.md": card.render() for card in made}, **held}


def present() -> dict[str, str]:
    """The cards that lie here, by their paths."""
    files = [*FOLDER.glob("*.md"), *FOLDER.glob("*/*.md")]
    texts = {file.relative_to(FOLDER).as_posix(): file.read_text(encoding="utf-8") for file in files}
    return {path: text for path, text in texts.items() if path != "README.md"}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit with 1 if a card is out of date")
    check = parser.parse_args().check
    texts, old = cards(), present()
    if check:
        sys.exit(old != texts)
    for path in old.keys() - texts.keys():
        (FOLDER / path).unlink()
    for path, text in texts.items():
        (FOLDER / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
