"""A card says everything that is known and nothing else, in a form that the Hub reads."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from tests.hub.helpers import stock_trainer
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.hub import CardSizes, Evaluation, ModelCardCallback, PalBertCard
from transformers_palbert.hub.card import code, table
from transformers_palbert.sizes import MatrixReport

GOLDEN = Path(__file__).parent / "golden_card.md"


def full_card() -> PalBertCard:
    """A card in which no field is missing but those that exclude each other."""
    return PalBertCard(
        model_name="small-qa",
        repo_id="me/small-qa",
        base_model="voidful/albert_chinese_large",
        language="zh",
        license="apache-2.0",
        tags=["reading-comprehension"],
        datasets=["hfl/cmrc2018"],
        dataset_name="CMRC 2018",
        dataset_config="default",
        dataset_split="validation",
        training_data="hfl/cmrc2018, train, 10,142 questions",
        evaluation_data="hfl/cmrc2018, validation, 3,219 questions",
        description=["A first paragraph."],
        example=("Who says hello?", "She says hello."),
        hyperparameters={"learning_rate": 2e-05, "qa_layers": None, "seed": 42},
        pruning={"method": "movement", "target_sparsity": 0.7, "density": 0.3},
        matrices=[
            MatrixReport("encoder.query.weight", (4, 8), 32, 8, 128),
            MatrixReport("ffn.weight", (2, 2), 4, 4, 16),
        ],
        sizes=CardSizes(36, 1 / 3, 100, 76, 400, 250),
        evaluation=Evaluation("this model", {"f1": 81.25, "em": 60.0, "average": 70.625}),
        comparisons=[Evaluation("before pruning, step 100", {"f1": 82.5, "em": 61.0})],
        hardware="1 × Some GPU",
        versions={"python": "3.11.7", "torch": "2.13.0"},
        training_seconds=5000.0,
        resumed_at=300,
        command="python examples/run_qa.py recipe.yaml",
        loads_without_package=False,
    )


def test_the_whole_card() -> None:
    """Look at the difference, and if it is meant, write ``full_card().render()`` into the file."""
    assert full_card().render() == GOLDEN.read_text(encoding="utf-8")


def test_the_hub_reads_the_metadata(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(full_card().render(), encoding="utf-8")
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.pipeline_tag == "question-answering"
    assert (data.base_model, data.language, data.license) == ("voidful/albert_chinese_large", "zh", "apache-2.0")
    assert {"transformers-palbert", "pruning", "reading-comprehension"} <= set(data.tags)
    results = {result.metric_type: result for result in data.eval_results}
    assert {name: result.metric_value for name, result in results.items()} == {"f1": 81.25, "exact_match": 60.0}
    f1 = results["f1"]
    assert (f1.task_type, f1.dataset_type, f1.dataset_name) == ("question-answering", "hfl/cmrc2018", "CMRC 2018")
    assert (f1.dataset_config, f1.dataset_split) == ("default", "validation")
    assert data.metrics == ["exact_match", "f1"]


def test_an_empty_card_claims_nothing() -> None:
    text = PalBertCard().render()
    metadata = yaml.safe_load(text.split("---")[1])
    assert metadata == {
        "library_name": "transformers", "pipeline_tag": "question-answering", "tags": ["transformers-palbert"],
    }  # fmt: skip
    for heading in ("Results", "Size", "Pruning", "Training", "Environment"):
        assert f"## {heading}" not in text
    assert "None" not in text
    assert "No result of exactly these weights is known." in text


@pytest.mark.parametrize(
    "field", [field.name for field in fields(PalBertCard) if field.name not in ("is_recipe", "task")]
)
def test_every_field_can_be_missing_and_is_seen_if_it_is_not(field: str) -> None:
    card = full_card()
    card.picture = "training.png"
    whole = card.render()
    setattr(card, field, getattr(PalBertCard(), field))
    text = card.render()
    ModelCard(text)
    assert "None" not in text
    assert text != whole


def test_the_question_in_use_is_a_real_one() -> None:
    for card, question in (
        (PalBertCard(example=('Who says "hello"?', "She.")), r'question="Who says \"hello\"?"'),
        (PalBertCard(language="zh"), 'question="谁写了《红楼梦》?"'),
        (PalBertCard(language=["de", "zh-TW"]), 'question="谁写了《红楼梦》?"'),
        (PalBertCard(), 'question="Who painted the ceiling?"'),
    ):
        use = re.search(r"```python\n(.*?)```", card.render(), re.DOTALL)
        assert question in use[1]
        compile(use[1], "card", "exec")


def test_numbers_of_a_column_are_equally_precise() -> None:
    states = [Evaluation(name, {"f1": f1, "loss": loss}) for name, f1, loss in (("a", 100.0, 2.1), ("b", 7.123, 0.05))]
    text = PalBertCard(evaluation=states[0], comparisons=states[1:]).render()
    assert "| b | 7.12 | 0.0500 |\n| a | 100.00 | 2.1000 |" in text


def test_equal_densities_are_one_sentence() -> None:
    card = full_card()
    assert "████" in card.render()
    card.matrices = [MatrixReport(name, (2, 5), 10, 3, 40) for name in "abc"]
    assert "Each of the 3 matrices of the encoder keeps 30.0% of its weights." in card.render()
    assert "█" not in card.render()


def test_results_need_a_data_set_that_the_hub_knows() -> None:
    card = full_card()
    card.datasets = []
    text = card.render()
    assert "model-index" not in text
    assert "81.25" in text


def test_results_of_other_states_are_not_results_of_this_model() -> None:
    card = full_card()
    card.evaluation = None
    text = card.render()
    assert "model-index" not in text
    assert "82.5" in text
    assert "The finished weights themselves were not evaluated." in text


def test_a_recipe_says_plainly_that_it_was_not_run() -> None:
    text = PalBertCard(model_name="paper", is_recipe=True, pruning={"target_sparsity": 0.7}).render()
    assert "it was not run here: there are no weights and no results" in text
    assert "were removed" not in text
    assert "pipeline(" not in text


def test_a_pretrained_model_is_not_said_to_answer_questions() -> None:
    card = full_card()
    card.task, card.loads_without_package = "fill-mask", True
    text = card.render()
    assert "pipeline_tag: fill-mask" in text
    assert "AutoModelForQuestionAnswering.from_pretrained" in text
    assert "pre-trained" in text
    for claim in ("marks the span", 'pipeline("question-answering"', "finds spans", "brings back the pipeline"):
        assert claim not in text
    with pytest.raises(ConfigurationError, match="task='translation' is not known"):
        PalBertCard(task="translation")


def test_tokens_are_blotted_out() -> None:
    card = full_card()
    card.command = "run_qa.py --token secret-1"
    card.training_data = "https://me:hf_" + "x" * 34 + "@example.org/train.json"
    text = card.render(["secret-1"])
    assert "secret-1" not in text
    assert "xxxx" not in text


def test_a_table_survives_its_contents() -> None:
    assert table(["a", "b"], [["x|y", "1"]]).splitlines()[-1] == r"| x\|y | 1 |"


HOSTILE = "x`\n\n</details><script>alert(1)</script>\n# Heading\n| a | b |\n[link](http://evil.example) ```"


def test_settings_from_a_strangers_config_stay_text() -> None:
    """Their names and values come from the base model's config.json."""
    card = PalBertCard(
        model_name="# not [a](heading)\n* list",
        hyperparameters={"hidden_act": HOSTILE, HOSTILE: 1},
        pruning={"method": HOSTILE},
        matrices=[MatrixReport(HOSTILE, (1, 1), 1, 1, 4)],
        evaluation=Evaluation(HOSTILE, {HOSTILE: 1.0}),
    )
    rendered = MarkdownIt("commonmark").enable("table").render(card.render().split("---\n", 2)[2])
    for tag in ("<script", "</details><", 'href="http://evil', "<h1>Heading", "<li>list"):
        assert tag not in rendered, tag
    assert "<h1># not [a](heading) * list</h1>" in rendered
    assert rendered.count("<table>") == 4


@pytest.mark.parametrize("text", ["a", "", "`", "``a`", "a | b", "two\nlines", "\x1b[31m"])
def test_code_is_code(text: str) -> None:
    rendered = MarkdownIt("commonmark").render(code(text))
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert not shown or f"<code>{shown}</code>" in rendered


def test_a_name_like_a_token_leaves_the_metadata_whole() -> None:
    secret = "hf_" + "Ab1" * 11
    card = PalBertCard(tags=["hf_question_answering", secret, f"*{secret}"], license=secret)
    metadata = yaml.safe_load(card.render().split("---\n", 2)[1])
    assert metadata["tags"] == ["transformers-palbert", "hf_question_answering", "***", "****"]
    assert metadata["license"] == "***"


def test_the_last_of_two_evaluations_counts(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path / "model")
    callback = next(c for c in trainer.callback_handler.callbacks if isinstance(c, ModelCardCallback))
    for value in (1.0, 2.0):
        callback.on_evaluate(trainer.args, trainer.state, trainer.control, metrics={"eval_f1": value})
    trainer.create_model_card()
    assert "| this model | 2.00 |" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
