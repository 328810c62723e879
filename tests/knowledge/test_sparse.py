"""Keyword vectors: which terms a text has, and how much each weighs."""

import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge import sparse


def test_words_are_folded_stemmed_and_freed_of_stop_words():
    assert sparse.terms("The Clinic's opening HOURS", "en") == ["clinic", "open", "hour"]


@pytest.mark.parametrize("apostrophe", ["'", "’"])
def test_contractions_leave_no_single_letters(apostrophe):
    assert sparse.terms(f"We don{apostrophe}t say it{apostrophe}s ours, you{apostrophe}ll see", "en") == [
        "say",
        "see",
    ]


@pytest.mark.parametrize("code", ["ab-1234", "10.0.0.1", "b/204", "err_404", "12:30"])
def test_a_code_counts_whole_beside_its_parts(code):
    found = sparse.terms(f"See {code.upper()}.", "en")
    assert found[-1] == code
    assert len(found) > 2


def test_any_hyphen_makes_the_same_code():
    wanted = sparse.query_vector("AB-1234", "en")
    assert all(sparse.query_vector(f"AB{hyphen}1234", "en") == wanted for hyphen in "‐‑–−")


def test_compounds_without_digits_are_just_their_words():
    assert sparse.terms("wi-fi", "en") == ["wi", "fi"]


def test_wide_and_composed_letters_are_the_same():
    assert sparse.terms("ＡＢＣ１２", "en") == ["abc12"]
    text = "Öffnungszeiten"
    assert sparse.terms(unicodedata.normalize("NFD", text), "de") == sparse.terms(text, "de")


def test_the_language_chooses_the_stemmer_and_an_unknown_one_none():
    assert sparse.terms("Häuser", "de-AT") == sparse.terms("Haus", "de_DE")
    assert sparse.terms("hours", "xx") == ["hours"]
    assert sparse.terms("The hours", "fr") == ["the", "hour"]


def test_a_question_weighs_each_distinct_term_once():
    indices, values = sparse.query_vector("hours, hours and hour of opening", "en")
    assert values == [1.0, 1.0]
    assert len(set(indices)) == 2


def test_a_document_shares_the_numbers_of_its_question():
    indices, _ = sparse.document_vector("Opening hours: 9 to 5", "en")
    assert set(sparse.query_vector("When do you open? Which hours?", "en")[0]) <= set(indices)


def test_weights_follow_bm25():
    _, (once,) = sparse.document_vector("hour", "en")
    _, (thrice,) = sparse.document_vector("hour hour hour", "en")
    assert once == pytest.approx(2.2 / (1 + 1.2 * (0.25 + 0.75 / 120)))
    assert thrice == pytest.approx(3 * 2.2 / (3 + 1.2 * (0.25 + 0.75 * 3 / 120)))


def test_a_text_without_terms_has_an_empty_vector():
    assert sparse.document_vector("the of and ...", "en") == ([], [])
    assert sparse.query_vector("", "en") == ([], [])


def test_numbers_of_terms_never_change():
    # stored vectors depend on it: another number needs another VERSION
    assert sparse.VERSION == 1
    assert sparse.query_vector("opening hours", "en")[0] == [2666745207, 3462408058]


@given(st.text(), st.sampled_from(["en", "de", "xx", "", "tr"]))
def test_any_text_gives_what_the_store_accepts(text, language):
    indices, values = sparse.document_vector(text, language)
    assert len(indices) == len(values) == len(set(indices))
    assert all(0 <= index < 2**32 for index in indices)
    assert all(value > 0 for value in values)
    assert sparse.query_vector(text, language)[0] == indices


def test_threads_do_not_share_a_stemmer():
    text = "running runners ran; opening openings opened " * 50
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: sparse.document_vector(text, "en"), range(64)))
    assert all(result == results[0] for result in results)
