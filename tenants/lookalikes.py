"""International host names that can be taken for others, because they mix alphabets or borrow from one."""

import unicodedata

import idna

# What is written together in one word; all other alphabets stand alone
TOGETHER = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA"},
    {"LATIN", "CJK", "BOPOMOFO"},
    {"LATIN", "CJK", "HANGUL"},
)
TWINS = {  # letters of other alphabets that look like Latin ones
    "CYRILLIC": frozenset("асԁеһіјӏорԛѕԝхуѵҽ"),
    "GREEK": frozenset("αικνορυχϲϳ"),
}


def fault(name: str) -> str:
    """Why a normalised host name is refused, as half a sentence; "" when it may be used."""
    ending = name.rpartition(".")[2]
    for label in name.split("."):
        if not label.startswith("xn--"):
            continue
        text = _read(label)
        if not text:
            return f"“{label}” is no international name."
        if _is_mixed(text):
            return f"“{text}” mixes alphabets, so it could be taken for another name."
        if not ending.startswith("xn--") and _is_borrowed(text):
            return f"“{text}” looks as if it were written in Latin letters."
    return ""


def _read(label: str) -> str:
    """The label as people read it; "" when nothing is encoded in it."""
    try:
        text = idna.decode(label)
        return text if idna.encode(text).decode() == label else ""
    except idna.IDNAError:
        return ""


def _alphabets(text: str) -> set[str]:
    """By the first words of the letters' names; marks and digits belong to none."""
    words = {unicodedata.name(letter).replace("-", " ").split()[0] for letter in text if letter.isalpha()}
    return {"CJK" if word == "IDEOGRAPHIC" else word for word in words}


def _is_mixed(text: str) -> bool:
    found = _alphabets(text)
    return len(found) > 1 and not any(found <= together for together in TOGETHER)


def _is_borrowed(text: str) -> bool:
    letters = {letter for letter in text if letter.isalpha()}
    return any(letters <= twins for twins in TWINS.values())
