from __future__ import annotations

import codecs
import csv
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_palbert.errors import ConfigurationError, DatasetFormatError
from transformers_palbert.qa.datasets import FEATURES, _nearest, load_qa_dataset, load_qa_dataset_with_report

CONTEXT = "\u3000北京大学在北京。\r\nIt is  a university.\u2028 "  # blanks, line ends and U+2028 count as characters


def squad(answers: list[dict], **fields: object) -> dict:
    qa = {"id": "q1", "question": "在哪？", "answers": answers} | fields
    return {"version": "1.1", "data": [{"title": "北大", "paragraphs": [{"context": CONTEXT, "qas": [qa]}]}]}


def answer(text: str, start: int | None = None) -> dict:
    return {"text": text} if start is None else {"text": text, "answer_start": start}


def save(path: Path, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_bytes(text.encode("utf-8"))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


# --- forms ---------------------------------------------------------------------------------------------------------


def test_squad_file(folder: Path) -> None:
    found = load_qa_dataset(save(folder / "a.json", squad([answer("北京", 6), answer("北京大学", 1)])))
    assert found.features == FEATURES
    assert found[0] == {
        "id": "q1",
        "title": "北大",
        "context": CONTEXT,
        "question": "在哪？",
        "answers": {"text": ["北京", "北京大学"], "answer_start": [6, 1]},
    }


def test_squad_2_file_with_an_unanswerable_question(folder: Path) -> None:
    content = squad([], is_impossible=True, plausible_answers=[answer("北京", 6)])
    found, report = load_qa_dataset_with_report(save(folder / "a.json", content), training=True)
    assert found[0]["answers"] == {"text": [], "answer_start": []}
    assert (report.unanswerable, report.answers, report.set_aside) == (1, 0, ())


def test_older_cmrc_list_form(folder: Path) -> None:
    qas = [{"query_id": "T_0", "query_text": "在哪？", "answers": ["北京", "上海"]}]
    content = [{"context_id": "T", "context_text": CONTEXT, "title": "北大", "qas": qas}]
    found, report = load_qa_dataset_with_report(save(folder / "trial.json", content))
    assert (found[0]["id"], found[0]["title"], found[0]["context"]) == ("T_0", "北大", CONTEXT)
    assert found[0]["answers"] == {"text": ["北京", "上海"], "answer_start": [1, -1]}
    assert (report.offsets_missing, report.offsets_found, report.answers_not_found) == (2, 1, 1)


def test_numbers_among_the_answers_of_the_older_cmrc_form_are_texts(folder: Path) -> None:
    qas = [{"query_id": "T_0", "query_text": "多少？", "answers": ["20", 20.0, 20, 1e-05]}]
    content = [{"context_id": "T", "context_text": "20.0人", "title": "", "qas": qas}]
    found = load_qa_dataset(save(folder / "dev.json", content))[0]["answers"]
    assert found == {"text": ["20", "20.0", "20", "1e-05"], "answer_start": [0, 0, 0, -1]}


FLAT = {"question": "在哪？", "context": CONTEXT}


@pytest.mark.parametrize(
    ("fields", "answers"),
    [
        ({"answers": {"text": ["北京"], "answer_start": [6]}}, {"text": ["北京"], "answer_start": [6]}),
        ({"answers": {"text": "北京", "answer_start": 6}}, {"text": ["北京"], "answer_start": [6]}),
        ({"answers": {"text": ["北京"]}}, {"text": ["北京"], "answer_start": [1]}),
        ({"answers": [{"text": "北京", "answer_start": 6}]}, {"text": ["北京"], "answer_start": [6]}),
        ({"answers": ["北京", "大学"]}, {"text": ["北京", "大学"], "answer_start": [1, 3]}),
        ({"answers": ["北京"], "answer_start": [6]}, {"text": ["北京"], "answer_start": [6]}),
        ({"answers": "北京", "answer_start": 6}, {"text": ["北京"], "answer_start": [6]}),
        ({"answer": "北京", "answer_start": 6.0}, {"text": ["北京"], "answer_start": [6]}),
        ({"answer": "北京", "answer_start": None}, {"text": ["北京"], "answer_start": [1]}),
        ({"answers": None}, {"text": [], "answer_start": []}),
        ({"answers": []}, {"text": [], "answer_start": []}),
        ({"answers": ""}, {"text": [], "answer_start": []}),
        ({"answers": [{"text": "", "answer_start": -1}]}, {"text": [], "answer_start": []}),
    ],
)
def test_flat_forms_of_answers(folder: Path, fields: dict, answers: dict) -> None:
    for path in (save(folder / "a.json", [FLAT | fields]), save(folder / "a.jsonl", FLAT | fields)):
        found = load_qa_dataset(path)[0]
        assert found["answers"] == answers
        assert (found["context"], found["title"]) == (CONTEXT, "")


@pytest.mark.parametrize("writer", ["to_json", "to_csv", "to_parquet"])
def test_what_datasets_writes_comes_back(folder: Path, writer: str) -> None:
    rows = [
        FLAT | {"id": "1", "title": "", "answers": {"text": ["北京"], "answer_start": [6]}},
        FLAT | {"id": "2", "title": "it's", "answers": {"text": [], "answer_start": []}},
        FLAT | {"id": "3", "title": "", "answers": {"text": ["大学", "a university"], "answer_start": [3, -1]}},
        {"id": "4", "title": "", "question": "q", "context": 'it\'s "x"\n\\ y', "answers": {"text": ['it\'s "x"\n\\']}},
    ]
    original = load_qa_dataset(save(folder / "a.json", rows))
    path = folder / f"b.{writer.removeprefix('to_')}"
    getattr(original, writer)(path)
    assert load_qa_dataset(path).to_list() == original.to_list()


def test_lists_that_numpy_wrote_into_csv_come_back(folder: Path) -> None:
    lists = datasets.Dataset.from_list(
        [
            FLAT | {"answers": ["北京", "大 学"], "answer_start": [6, -1]},
            FLAT | {"answers": ["北"], "answer_start": [1]},
        ]
    )
    pairs = datasets.Dataset.from_list(
        [FLAT | {"answers": [{"text": "北京", "answer_start": 6}, {"text": "大 学", "answer_start": -1}]}]
    )
    lists.to_csv(folder / "lists.csv")
    pairs.to_csv(folder / "pairs.csv")
    for name in ("lists.csv", "pairs.csv"):
        found, report = load_qa_dataset_with_report(folder / name)
        assert found[0]["answers"] == {"text": ["北京", "大 学"], "answer_start": [6, -1]}
        assert report.offsets_missing == 0


@pytest.mark.parametrize(
    "cell",
    [
        "{'text': array(['x', ..., 'x'], dtype=object), 'answer_start': array([1, ..., 1])}",  # too long for numpy
        "{'text': array(['x'], dtype=object), 'answer_sta",
        "{'text': ['x'], 'answer_start': [nan]}",
        "[{'text': x}]",
    ],
)
def test_a_dictionary_of_answers_that_cannot_be_read_is_refused(folder: Path, cell: str) -> None:
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["question", "context", "answers"], ["q", "x", cell]])
    with pytest.raises(DatasetFormatError, match=r"a.csv: line 2.answers: a dictionary of answers that cannot be read"):
        load_qa_dataset(folder / "a.csv")


@pytest.mark.parametrize("cell", ["[" * 100_000, "[" + "-" * 100_000 + "1]", "{'text': [" + "-" * 100_000 + "1]}"])
@pytest.mark.parametrize("column", ["answers", "answer_start"])
def test_cells_that_are_nested_too_deeply_are_refused(folder: Path, cell: str, column: str) -> None:
    row = {"question": "q", "context": "x", "answers": "x", "answer_start": "0"} | {column: cell}
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(row), list(row.values())])
    with pytest.raises(DatasetFormatError, match=rf"a.csv: line 2.{column}: nested too deeply to be read"):
        load_qa_dataset(folder / "a.csv")


def test_a_cell_whose_key_is_a_list_is_refused(folder: Path) -> None:
    (folder / "a.csv").write_text("question,context,answers,answer_start\nq,x,x,{[1]: 2}\n")
    with pytest.raises(DatasetFormatError, match=r"a.csv: line 2.answer_start: expected an integer or a list"):
        load_qa_dataset(folder / "a.csv")


@pytest.mark.parametrize(
    ("line", "reason"), [("[" * 100_000, "it is nested too deeply"), ("1" * 5000, "Exceeds the limit")]
)
def test_json_lines_that_no_parser_reads_are_refused(folder: Path, line: str, reason: str) -> None:
    with pytest.raises(DatasetFormatError, match=f"a.jsonl: line 2 cannot be read: {reason}"):
        load_qa_dataset(save(folder / "a.jsonl", json.dumps(FLAT | {"answers": []}) + f"\n{line}"))


def test_json_lines_in_a_json_file(folder: Path) -> None:
    lines = "\n".join(json.dumps(FLAT | {"id": str(i), "answers": "北京"}, ensure_ascii=False) for i in range(3))
    assert load_qa_dataset(save(folder / "a.json", lines))["id"] == ["0", "1", "2"]


def test_csv_keeps_line_ends_blanks_and_long_contexts(folder: Path) -> None:
    context = CONTEXT + "x" * 200_000
    limit = csv.field_size_limit()
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        path = folder / f"a{suffix}"
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file, delimiter=delimiter).writerows(
                [
                    ["question", "context", "answers", "answer_start"],
                    ["q", context, "北京", "6"],
                    ["r", context, '["北京", "大学"]', "[6, 3]"],
                    ["s", context, "", ""],
                    ["t", context, "[1] 北京", ""],
                ]
            )
        found = load_qa_dataset(path)
        assert set(found["context"]) == {context}
        assert [item["text"] for item in found["answers"]] == [["北京"], ["北京", "大学"], [], ["[1] 北京"]]
        assert [item["answer_start"] for item in found["answers"]] == [[6], [6, 3], [], [-1]]
    assert csv.field_size_limit() == limit


def test_a_dataset_is_a_source_too() -> None:
    source = datasets.Dataset.from_list([FLAT | {"id": 7, "answers": {"text": ["北京"], "answer_start": [99]}}])
    found, report = load_qa_dataset_with_report(source)
    assert (found[0]["id"], found[0]["answers"]["answer_start"]) == ("7", [6])
    assert report.offsets_repaired == 1


def test_hub_ids_go_through_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    row = FLAT | {"id": "1", "answers": {"text": ["北京"], "answer_start": [6]}}
    dataset = datasets.Dataset.from_list([row])

    def load_dataset(name: str, **kwargs: object) -> object:
        calls.append((name, kwargs))
        return dataset if kwargs["split"] else datasets.DatasetDict(train=dataset, validation=dataset)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = load_qa_dataset("owner/name", split="train[:1]", revision="main")
    assert found[0]["answers"]["answer_start"] == [6]
    assert calls == [("owner/name", {"split": "train[:1]", "revision": "main"})]
    with pytest.raises(ConfigurationError, match=r"pass split=\.\.\., one of 'train', 'validation'"):
        load_qa_dataset("owner/name")


def test_folders(folder: Path) -> None:
    for name in ("cmrc2018_train.json", "cmrc2018_dev.json"):
        save(folder / name, squad([answer("北京", 6)], id=name))
    save(folder / "README.md", "words")
    for split, name in (("train", "cmrc2018_train.json"), ("validation", "cmrc2018_dev.json")):
        assert load_qa_dataset(folder, split=split)["id"] == [name]
    with pytest.raises(ConfigurationError, match=r"several files \(cmrc2018_dev.json, cmrc2018_train.json\)"):
        load_qa_dataset(folder)
    with pytest.raises(DatasetFormatError, match="no file of split 'test'"):
        load_qa_dataset(folder, split="test")


def test_folders_written_by_save_to_disk(folder: Path) -> None:
    dataset = load_qa_dataset(save(folder / "a.json", squad([answer("北京", 6)])))
    dataset.save_to_disk(folder / "one")
    datasets.DatasetDict(train=dataset).save_to_disk(folder / "several")
    assert load_qa_dataset(folder / "one")[0] == dataset[0]
    assert load_qa_dataset(folder / "several", split="train")[0] == dataset[0]
    with pytest.raises(ConfigurationError, match="one of 'train'"):
        load_qa_dataset(folder / "several", split="dev")


# --- offsets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "repaired"), [(0, 1), (1, 1), (2, 1), (3, 1), (4, 6), (5, 6), (9, 6), (-1, 1), (-30, 1), (10**12, 6)]
)
def test_wrong_offsets_move_to_the_nearest_occurrence(folder: Path, start: int, repaired: int) -> None:
    found, report = load_qa_dataset_with_report(save(folder / "a.json", squad([answer("北京", start)])))
    assert found[0]["answers"]["answer_start"] == [repaired]
    assert (report.offsets_wrong, report.offsets_repaired) == (int(start != 1), int(start != 1))


@given(st.text("ab", max_size=12), st.text("ab", min_size=1, max_size=3), st.integers(-3, 15))
def test_nearest_agrees_with_trying_every_place(context: str, text: str, start: int) -> None:
    places = [place for place in range(len(context)) if context[place : place + len(text)] == text]
    expected = min(places, key=lambda place: (abs(place - start), place), default=-1)
    assert _nearest(text, context, start) == expected


def test_training_sets_aside_what_cannot_be_found(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [
        FLAT | {"id": "none", "answers": ["上海", "广州"]},
        FLAT | {"id": "some", "answers": ["上海", "北京"]},
        FLAT | {"id": "unanswerable", "answers": []},
    ]
    path = save(folder / "a.json", records)
    with caplog.at_level(logging.INFO, logger="transformers_palbert.qa.datasets"):
        found, report = load_qa_dataset_with_report(path, training=True)
    assert found["id"] == ["some", "unanswerable"]
    assert found[0]["answers"] == {"text": ["北京"], "answer_start": [1]}
    assert report.to_dict() == {
        "questions": 3,
        "unanswerable": 1,
        "answers": 4,
        "offsets_wrong": 0,
        "offsets_repaired": 0,
        "offsets_missing": 4,
        "offsets_found": 1,
        "answers_not_found": 3,
        "contradictory": 0,
        "set_aside": ["none"],
    }
    assert "3 answers not in their context, 0 questions contradict their is_impossible, 1 questions set" in caplog.text
    assert "1 of 3 questions set aside" in caplog.text

    evaluation = load_qa_dataset(path)
    assert evaluation["id"] == ["none", "some", "unanswerable"]
    assert evaluation[0]["answers"] == {"text": ["上海", "广州"], "answer_start": [-1, -1]}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (True, True),
        ("true", True),
        ("True", True),
        (1, True),
        (False, False),
        ("false", False),
        ("0", False),
        (0, False),
    ],
)
def test_is_impossible_in_any_spelling(folder: Path, said: object, meant: bool) -> None:
    answers = [] if meant else [answer("北京", 6)]
    for content in (squad(answers, is_impossible=said), [FLAT | {"answers": answers, "is_impossible": said}]):
        found, report = load_qa_dataset_with_report(save(folder / "a.json", content), training=True)
        assert (len(found), report.contradictory, report.set_aside) == (1, 0, ())


@pytest.mark.parametrize(("said", "answers"), [("true", [answer("北京", 6)]), (False, [])])
def test_a_contradiction_is_kept_for_evaluation_and_set_aside_from_training(
    folder: Path, said: object, answers: list[dict], caplog: pytest.LogCaptureFixture
) -> None:
    content = squad(answers, is_impossible=said)
    content["data"] += squad([answer("北京", 6)], id="fine", is_impossible=False)["data"]
    path = save(folder / "a.json", content)
    found, report = load_qa_dataset_with_report(path)
    assert found["id"] == ["q1", "fine"]
    assert found[0]["answers"]["text"] == [item["text"] for item in answers]  # as the official scripts count
    assert (report.contradictory, report.set_aside) == (1, ())
    assert "1 of 2 questions contradict their is_impossible; they are kept" in caplog.text
    found, report = load_qa_dataset_with_report(path, training=True)
    assert found["id"] == ["fine"]
    assert (report.contradictory, report.set_aside) == (1, ("q1",))
    assert "1 of 2 questions set aside" in caplog.text


def test_training_without_any_usable_question_is_an_error(folder: Path) -> None:
    with pytest.raises(
        DatasetFormatError, match="none of the 1 questions can be learnt from: no answer is in its context"
    ):
        load_qa_dataset(save(folder / "a.json", [FLAT | {"answers": "上海"}]), training=True)


# --- ids and caching -----------------------------------------------------------------------------------------------


def test_generated_ids_depend_on_the_texts_alone(folder: Path) -> None:
    records = [FLAT | {"answers": "北京"}, FLAT | {"answers": "大学"}, FLAT | {"answers": "北京", "question": "x"}]
    ids = load_qa_dataset(save(folder / "a.json", records))["id"]
    assert ids[1] == f"{ids[0]}-1"
    assert load_qa_dataset(save(folder / "b.json", records[::-1]))["id"] == [ids[2], ids[0], ids[1]]


def test_the_same_content_is_mapped_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    calls = folder / "calls"

    def count(row: dict) -> dict:
        with calls.open("a") as file:
            file.write("x")
        return {"length": len(row["context"])}

    for name in ("a.json", "b.json"):  # two files with the same questions
        dataset = load_qa_dataset(save(folder / name, squad([answer("北京", 6)])))
        assert dataset.cache_files
        assert dataset.map(count)["length"] == [len(CONTEXT)]
    assert calls.read_text() == "x"


@pytest.fixture
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    return folder / "cache" / "palbert_qa"


def refuse(*_: object) -> Iterator:
    raise AssertionError("the file was read again")


@pytest.mark.parametrize("training", [False, True])
def test_a_file_is_read_once(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, training: bool) -> None:
    records = [FLAT | {"id": "a", "answers": "北京"}, FLAT | {"id": "b", "answers": "上海"}]
    path = save(folder / "a.json", records)
    first = load_qa_dataset_with_report(path, training=training)
    monkeypatch.setattr("transformers_palbert.qa.datasets.read_questions", refuse)
    again, report = load_qa_dataset_with_report(path, training=training)
    assert (again.to_list(), report) == (first[0].to_list(), first[1])
    assert report.set_aside == (("b",) if training else ())
    assert [file.suffix for file in sorted(cache.iterdir())] == [".arrow", ".json"]
    with pytest.raises(AssertionError, match="read again"):
        load_qa_dataset(path, training=not training)
    with pytest.raises(AssertionError, match="read again"):  # of the same length, and perhaps of the same second
        load_qa_dataset(save(path, records[::-1]), training=training)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_cache_has_the_permissions_of_other_files(folder: Path, cache: Path, umask: int) -> None:
    previous = os.umask(umask)
    try:
        load_qa_dataset(save(folder / "a.json", [FLAT | {"answers": "北京"}]))
    finally:
        os.umask(previous)
    assert {file.stat().st_mode & 0o777 for file in cache.iterdir()} == {0o666 & ~umask}


def test_a_dataset_in_memory_that_has_the_schema_is_not_cached(cache: Path) -> None:
    rows = [FLAT | {"id": "7", "title": "", "answers": {"text": ["北京"], "answer_start": [99]}}]
    found, report = load_qa_dataset_with_report(datasets.Dataset.from_list(rows, features=FEATURES))
    assert (found[0]["answers"]["answer_start"], report.offsets_repaired, found.cache_files) == ([6], 1, [])
    assert not cache.exists()
    found = load_qa_dataset(datasets.Dataset.from_list([FLAT | {"answers": "北京"}]))
    assert found.cache_files


@pytest.mark.parametrize("damage", ["arrow", "json", "rows"])
def test_a_damaged_cache_is_made_anew(folder: Path, cache: Path, damage: str) -> None:
    path = save(folder / "a.json", [FLAT | {"id": "a", "answers": "北京"}])
    expected = load_qa_dataset(path).to_list()
    (arrow,), (report,) = cache.glob("*.arrow"), cache.glob("*.json")
    if damage == "rows":
        report.write_text(report.read_text().replace('"rows": 1', '"rows": 2'))
    else:
        (arrow if damage == "arrow" else report).write_bytes(b"")
    assert load_qa_dataset(path).to_list() == expected


def test_a_file_that_is_refused_leaves_nothing_in_the_cache(folder: Path, cache: Path) -> None:
    with pytest.raises(DatasetFormatError):
        load_qa_dataset(save(folder / "a.json", [FLAT | {"answers": "北京"}, {}]))
    assert list(cache.iterdir()) == []


def test_a_full_disk_leaves_the_dataset_in_memory(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers_palbert.qa.record_cache.os.replace", full)
    found = load_qa_dataset(save(folder / "a.json", [FLAT | {"id": "a", "answers": "北京"}]))
    assert (found["id"], found.cache_files) == (["a"], [])
    assert "No space left" in caplog.text
    assert list(cache.iterdir()) == []


def test_an_unusable_cache_leaves_the_dataset_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", save(folder / "not-a-folder", ""))
    path = save(folder / "a.json", squad([answer("北京", 6)]))
    assert load_qa_dataset(path).cache_files == []
    datasets.disable_caching()
    try:
        assert load_qa_dataset(path).cache_files == []
    finally:
        datasets.enable_caching()


# --- malformed files -----------------------------------------------------------------------------------------------

QA = r"a.json: data\[0\].paragraphs\[0\].qas\[0\]"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.json: the file is empty"),
        (" \n", "a.json: the file is empty"),
        ('{"data": [\n  {"x": 1,}]}', r"a.json: not valid JSON at line 2, column \d+"),
        ('{"data": [', "a.json: not valid JSON at line 1, column"),
        ('[] {"x"', "a.json: not valid JSON at line 1, column 4: Extra data"),
        (json.dumps(FLAT | {"answers": []}) + '\n{"a": 2', "a.json: not valid JSON at line 2, column 8: Expecting ','"),
        ('[{"question": "q", "context": "c", "answers": []},]', "column 51: Expecting value"),
        ('{"data": [7]', r"data\[0\]: expected an object, got int 7"),
        ('{"data": [] "x"', "not valid JSON at line 1, column 13: Expecting ',' delimiter"),
        ('{"data": [],}', "not valid JSON at line 1, column 13: Expecting property name"),
        ('{"data": []} 7', "not valid JSON at line 1, column 14: Extra data"),
        ('{"data": [],\n"data": []}', "a.json: line 2: a second list called 'data' in one object"),
        ('{"data": 7}', "expected a list of records, .* got an object with 'data'"),
        ("[" * 100_000, "a.json: line 1 cannot be read: it is nested too deeply"),
        (f'[{"1" * 5000}]', "a.json: line 1 cannot be read: Exceeds the limit"),
        ("[]", "a.json: the file holds no question"),
        ({"data": []}, "a.json: the file holds no question"),
        ({"articles": []}, "expected a list of records, .* got an object with 'articles'"),
        (7, "expected a list of records, .* got int 7"),
        ([7], r"a.json: \[0\]: expected an object, got int 7"),
        ([{"question": "q", "context": "c"}], r"a.json: \[0\].answers: missing; fields are 'question', 'context'"),
        ([{"question": "q", "answers": []}], r"a.json: \[0\].context: missing"),
        ([FLAT | {"answers": 7}], r"\[0\].answers: expected a list, got int 7"),
        ([FLAT | {"answers": [7]}], r"\[0\].answers\[0\]: expected an object, got int 7"),
        ([FLAT | {"answers": ["a"], "answer_start": [1, 2]}], r"1 texts, but 2 values in answer_start"),
        ([FLAT | {"answers": ["a"], "answer_start": 1}], "answer_start must be a list"),
        ([FLAT | {"answers": "a", "answer_start": 1.5}], "answer_start: expected an integer, got float 1.5"),
        ('[{"question": "q", "context": "c", "answers": "a", "answer_start": Infinity}]', "got float inf"),
        ([FLAT | {"answers": "a", "id": ""}], r"\[0\].id: expected a string that is not empty"),
        ([FLAT | {"answers": "a", "title": 3}], r"\[0\].title: expected a string, got int 3"),
        ('[{"question": "\\ud800", "context": "c", "answers": []}]', r"\[0\].question holds .* half of a surrogate"),
        (squad([answer("北京")], question=None), QA + r".question: expected a string, got null"),
        (squad([answer("北京")], id=None), QA + r".id: expected a string that is not empty, got null"),
        (squad([answer("北京", "6")]), QA + r".answers\[0\].answer_start: expected an integer, got str '6'"),
        (squad([answer("北京", True)]), QA + r".answers\[0\].answer_start: expected an integer, got bool True"),
        (squad([{"answer_start": 6}]), QA + r".answers\[0\].text: missing; fields are 'answer_start'"),
        (squad([answer("北京", 6)], is_impossible="maybe"), QA + ".is_impossible: expected true or false, got str 'm"),
        ({"data": [{"paragraphs": {}}]}, r"data\[0\].paragraphs: expected a list, got dict"),
        ({"data": [{"paragraphs": [{"context": 1, "qas": []}]}]}, r"paragraphs\[0\].context: expected a string"),
        ({"data": [{"paragraphs": [{"context": "c"}]}]}, r"paragraphs\[0\].qas: missing; fields are 'context'"),
        ({"data": [{"paragraphs": []}, 3]}, r"a.json: data\[1\]: expected an object, got int 3"),
        ([{"context_text": "c", "qas": [{"query_id": "1", "answers": []}]}], r"\[0\].qas\[0\].query_text: missing"),
    ],
)  # fmt: skip
def test_malformed_json(folder: Path, content: object, message: str) -> None:
    with pytest.raises(DatasetFormatError, match=message):
        load_qa_dataset(save(folder / "a.json", content))


def test_missing_key_of_squad(folder: Path) -> None:
    content = squad([])
    del content["data"][0]["paragraphs"][0]["qas"][0]["answers"]
    with pytest.raises(DatasetFormatError, match=QA + r".answers: missing; fields are 'id', 'question'"):
        load_qa_dataset(save(folder / "a.json", content))


def test_duplicate_ids_name_both_places(folder: Path) -> None:
    content = squad([answer("北京", 6)])
    content["data"] *= 2
    with pytest.raises(
        DatasetFormatError, match=r"data\[1\].*qas\[0\].id: 'q1' is taken already, by a.json: data\[0\]"
    ):
        load_qa_dataset(save(folder / "a.json", content))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", codecs.BOM_UTF16_LE + "{}".encode("utf-16-le"), "UTF-16; save it as UTF-8"),
        ("a.json", b"[\n" + "北京".encode("gb18030"), r"not UTF-8 \(byte 0xb1 at offset 2, line 2\)"),
        ("a.jsonl", b'{"question": "q", "context": "c", "answers": []}\n{', "not valid JSON at line 2, column 2"),
        ("a.jsonl", b'{"question": "q"}', "a.jsonl: line 1.answers: missing"),
        ("a.csv", b"question,context,answers\nq,c\n", "a.csv: line 2.answers: missing, the line has fewer fields"),
        ("a.csv", b"question,context,answers\nq,c,a,b\n", "a.csv: line 2: more fields than the header"),
        ("a.csv", b'question,context,answers\nq,"c,a\n', "a.csv: not valid CSV near line"),
        ("a.csv", b"question,context,answers,answer_start\nq,c,a,x\n", "line 2.answer_start: expected an integer"),
        ("a.csv", b"question,context,answers\n", "a.csv: the file holds no question"),
        (
            "a.csv",
            b"question;context;answers\nq;c;a\n",
            "line 2.answers: missing; fields are 'question;context;answers'",
        ),
        ("a.parquet", b"nonsense", "a.parquet: not a readable Parquet file"),
        ("a.txt", b"[]", r"files ending in '.txt' are not understood; use .json"),
        ("a", b"[]", r"files ending in '' are not understood"),
    ],
)
def test_malformed_files(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DatasetFormatError, match=message):
        load_qa_dataset(folder / name)


def test_a_byte_order_mark_is_no_part_of_the_text(folder: Path) -> None:
    path = folder / "a.json"
    path.write_bytes(codecs.BOM_UTF8 + json.dumps(squad([answer("北京", 6)])).encode())
    assert load_qa_dataset(path)[0]["answers"]["answer_start"] == [6]


@pytest.mark.parametrize("source", ["missing.json", "/no/such/folder", "./missing", "a/b/c"])
def test_missing_files_are_not_taken_for_hub_ids(source: str) -> None:
    with pytest.raises(DatasetFormatError, match="there is no such file or folder"):
        load_qa_dataset(source)


def test_arguments_that_do_not_fit_a_file(folder: Path) -> None:
    path = save(folder / "a.json", squad([answer("北京", 6)]))
    with pytest.raises(ConfigurationError, match="revision: only data sets of the Hub take such arguments"):
        load_qa_dataset(path, revision="main")
    with pytest.raises(ConfigurationError, match="a part of a local file cannot be chosen"):
        load_qa_dataset(path, split="train[:10]")
    assert len(load_qa_dataset(path, split="train")) == 1
