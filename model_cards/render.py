"""Write the cards in this folder from recipes and result files, so that no figure is ever typed.

python model_cards/render.py            # write them
python model_cards/render.py --check    # fail if one is not up to date
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml

from transformers_palbert.hub import CardSizes, Evaluation, PalBertCard
from transformers_palbert.hub.examples import EXAMPLES
from transformers_palbert.training.recipe_files import find_recipe

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
RESULTS = ROOT / "benchmarks" / "results" / "cmrc2018_pruning.json"
NOT_RUN = ("paper_cmrc2018",)
"""Recipes of the package that no result file belongs to."""

DENSE = ("dense", "dense_longer")
"""Runs that a pruned one is compared with: the model it began as, and that model trained on for as long."""

NO_HYPERPARAMETER = {
    "dataset_name", "do_eval", "do_train", "eval_strategy", "eval_steps", "further_metrics", "logging_steps", "metric",
    "model_name_or_path", "output_dir", "report_to", "save_steps", "save_strategy", "save_total_limit", "use_cpu",
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
    hardware, versions = result["hardware"], result["versions"]
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
        hardware=hardware["gpu"] or f"{hardware['cores']} cores of {hardware['processor']}",
        versions={name: versions[name] for name in ("python", "transformers", "torch", "accelerate", "datasets")},
        training_seconds=run["seconds"],
        command=run["command"],
    )


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
    """Every card, by file name."""
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    made = [recipe_card(name) for name in NOT_RUN] + [run_card(result, run) for run in result["runs"]]
    return {f"{card.model_name}.md": card.render() for card in made}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit with 1 if a card is out of date")
    check = parser.parse_args().check
    texts = cards()
    present = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.md") if file.name != "README.md"}
    if check:
        sys.exit(present != texts)
    for name in present.keys() - texts.keys():
        (FOLDER / name).unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
