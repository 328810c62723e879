"""Keyword vectors: BM25 weights over stemmed words and whole codes.

The vector store multiplies in how rare a term is (`modifier: idf`), so a document's vector does not
depend on the others.
"""

import re
import threading
import unicodedata
from collections import Counter
from hashlib import blake2b

import Stemmer

VERSION = 1  # what is stored was made by this one; another way to cut or number terms is another version

AVERAGE_TERMS = 120  # of a passage; a constant, so that old vectors stay right when new documents come
_K1, _B = 1.2, 0.75

Sparse = tuple[list[int], list[float]]

_ELISION = re.compile(r"(?<=\w)['’](?:s|t|re|ve|ll|d|m)\b")
_WORD = re.compile(r"[^\W_]+")
_CODE = re.compile(r"[^\W_]+(?:[-./:_][^\W_]+)+")
_HYPHENS = str.maketrans({"\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2212": "-"})

_LANGUAGES = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "tr": "turkish",
}

_STOP_WORDS = """
    a about after again all also am an and any are aren as at be because been before being both but by
    can could couldn did didn do does doesn doing don during each few for from further had hadn has hasn
    have haven having he her here hers him his how i if in into is isn it its itself just me more most
    my no nor not of off on once only or other our ours out over own please same shall she should shouldn
    so some such than that the their theirs them then there these they this those through to too under
    until up upon us very was wasn we were weren what when where which while who whom why will with won
    would wouldn you your yours
"""
_ENGLISH_STOP_WORDS = frozenset(_STOP_WORDS.split())

_stemmers = threading.local()  # a stemmer must not be shared by threads


def terms(text: str, language: str) -> list[str]:
    """The terms of a text in order, repeated as often as they occur.

    language  two letters or a tag as in "en", "de-AT"; an unknown one is not stemmed
    Returns   stems of the words, and each compound code (ab-1234, 10.0.0.1, b/204) whole beside its parts
    """
    text = unicodedata.normalize("NFKC", text).translate(_HYPHENS).lower()
    text = _ELISION.sub("", text)
    name = _LANGUAGES.get(language.lower().replace("_", "-").split("-")[0])
    words = _WORD.findall(text)
    if name == "english":
        words = [word for word in words if word not in _ENGLISH_STOP_WORDS]
    if name:
        words = _stemmer(name).stemWords(words)
    return words + [code for code in _CODE.findall(text) if any(letter.isdigit() for letter in code)]


def document_vector(text: str, language: str) -> Sparse:
    """(indices, values) of a passage; both empty if it has no terms. Arguments as for `terms`."""
    counts = Counter(terms(text, language))
    damping = _K1 * (1 - _B + _B * counts.total() / AVERAGE_TERMS)
    return _vector({term: tf * (_K1 + 1) / (tf + damping) for term, tf in counts.items()})


def query_vector(text: str, language: str) -> Sparse:
    """(indices, values) of a question: each distinct term weighs 1. Arguments as for `terms`."""
    return _vector(dict.fromkeys(terms(text, language), 1.0))


def _vector(weights: dict[str, float]) -> Sparse:
    """Terms numbered by hash; should two have one number, it appears once, as the store demands."""
    summed: dict[int, float] = {}
    for term, weight in weights.items():
        index = int.from_bytes(blake2b(term.encode()).digest()[:4])
        summed[index] = summed.get(index, 0.0) + weight
    indices = sorted(summed)
    return indices, [summed[index] for index in indices]


def _stemmer(name: str) -> Stemmer.Stemmer:
    stemmer = getattr(_stemmers, name, None)
    if stemmer is None:
        stemmer = Stemmer.Stemmer(name)
        setattr(_stemmers, name, stemmer)
    return stemmer
