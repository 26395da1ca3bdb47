from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transformers_palbert.reduction.passages import Cutting
from transformers_palbert.text.shortened import Piece, join_passages, visible


def test_neighbours_stay_joined_and_words_apart() -> None:
    context = "One. Two-three. Four."
    shorter = join_passages(context, [(0, 5), (5, 9), (9, 16), (16, 21)], [True, True, False, True])
    assert shorter.text == "One. Two- Four."
    assert shorter.pieces == (Piece(0, 9, 0), Piece(16, 21, 10))


@given(st.text(alphabet="a \n", max_size=8), st.data())
def test_white_space_around_characters_is_left_out(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, last = visible(text, start, end)
    assert start <= first <= last <= end
    assert text[first:last] == text[start:end].strip() or (first, last) == (start, end)
    assert not text[start:end].strip() or text[first:last] == text[start:end].strip()


def test_no_space_behind_chinese() -> None:
    assert join_passages("甲。乙。丙。", [(0, 2), (2, 4), (4, 6)], [True, False, True]).text == "甲。丙。"


def test_what_was_apart_has_no_place_in_the_original() -> None:
    shorter = join_passages("甲。乙。丙。", [(0, 2), (2, 4), (4, 6)], [True, False, True])
    assert shorter.to_original(2, 4) == (4, 6)
    assert shorter.to_original(1, 3) is None
    assert shorter.from_original(4, 5) == (2, 3)
    assert shorter.from_original(1, 3) is None
    assert shorter.from_original(2, 3) is None


@given(st.text(alphabet="a b.。!\n京", min_size=1, max_size=40), st.data())
def test_places_are_exact_both_ways(context: str, data: st.DataObject) -> None:
    (row,) = Cutting(2).cut(["?"], [context])
    kept = data.draw(st.lists(st.booleans(), min_size=len(row), max_size=len(row)).filter(any))
    shorter = join_passages(context, row.spans, kept)
    for start in range(len(shorter.text)):
        place = shorter.to_original(start, start + 1)
        if place is None:  # the space between two pieces
            assert shorter.text[start] == " "
        else:
            assert context[slice(*place)] == shorter.text[start]
            assert shorter.from_original(*place) == (start, start + 1)
    for keep, (start, end) in zip(kept, row.spans, strict=True):
        place = shorter.from_original(start, end)
        assert (place is not None) == keep or start == end
        if place is not None:
            assert shorter.text[slice(*place)] == context[start:end]
