"""How the offline demo model reads: passages out of the prompt, words out of sentences, sentences by shared words."""

import math
import re
from dataclasses import dataclass, field
from itertools import groupby

import Stemmer

_PASSAGES = re.compile(r"^<<<passages (\S+)\n(.*?)^passages \1>>>", re.DOTALL | re.MULTILINE)
_HEADER = re.compile(r"\[(\d+)\] ([^\n]*)(?:\n|$)")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"”’)]))\s+(?=[\"“‘(]?[A-ZÀ-Þ0-9£$€])")
_LIST_ITEM = re.compile(r"\s*(?:[-*•–>]+|\d{1,2}[.)])\s")
_HEADING = re.compile(r"#+ .*|[^.!?:;|]{2,80}")
_ABBREVIATION = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|Prof|St|No|approx|e\.g|i\.e|z\.B|Nr|Tel)\.$")
_STOP = frozenset(
    re.findall(
        r"\w+",
        """a about all am an and any are as at be been being but by can come could did do does doing for
        from get give go got had has have having he her here him his how i if in into is it its just know
        let like ll make many may me more most much my need no not of off offer on one only or other our out
        over please re s shall she should so some such t take tell than thank thanks that the their them
        then there these they thing this those to too up us use ve very want long often was we well were what when
        where which while who whom whose why will with would yes you your yours hello hi hey ok okay der die
        das den dem des ein eine einen einem einer und oder ist sind war wie was wann wo wer warum kann
        können ich du sie er es wir ihr mein ihre ihren für mit von zu zum zur im auf bei gibt bitte haben
        habe hat""",
    )
)
LIST_CHARACTERS = 700  # a longer list is quoted by its items only
NEARLY = 0.8  # as good as the best sentence: quoted too, though it adds nothing
RANK = 0.03  # what a passage loses against the one before it: the search knows more than shared words

_stem = Stemmer.Stemmer("english").stemWord


@dataclass(frozen=True)
class Passage:
    """One passage of the prompt, by the number it is cited with."""

    number: int
    header: str
    text: str


@dataclass(frozen=True)
class Sentence:
    """One thing that can be quoted.

    words    its own, and those lent by the question, heading or list it belongs to
    own      if not empty, one of these must be asked for: an item of a list is not quoted for its list's sake
    context  words of its passage's header, which count half
    """

    number: int
    text: str
    words: frozenset[str] = field(repr=False)
    context: frozenset[str] = field(repr=False)
    own: frozenset[str] = field(repr=False, default=frozenset())


def words(text: str) -> list[str]:
    """Stems of the words, lower case."""
    return [_stem(word) for word in _WORD.findall(text.lower().replace("’", "'"))]


def content_words(text: str) -> set[str]:
    """Stems of the words that carry meaning."""
    found = (word for word in _WORD.findall(text.lower().replace("’", "'")) if word.split("'")[0] not in _STOP)
    return {_stem(word.removesuffix("'s")) for word in found if len(word) > 1 or word.isdigit()}


def _text(message: dict) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content if isinstance(part, dict))


def last_question(messages: list[dict]) -> str:
    """What the user said last."""
    return next((_text(message) for message in reversed(messages) if message["role"] == "user"), "")


def tool_results(messages: list[dict]) -> list[str]:
    """The results of the tools that were called for the last question."""
    results = []
    for message in reversed(messages):
        if message["role"] == "user":
            break
        if message["role"] == "tool":
            results.insert(0, _text(message))
    return results


def passages(messages: list[dict]) -> list[Passage]:
    """The passages in the system messages, as agents/assembly.py frames them."""
    return [
        passage
        for message in messages
        if message["role"] == "system"
        for block in _PASSAGES.finditer(_text(message))
        for passage in _split(block.group(2))
    ]


def _split(block: str) -> list[Passage]:
    """Passages begin with ``[n] title | page p | heading``; a paragraph without that belongs to the one before."""
    found: list[Passage] = []
    for paragraph in re.split(r"\n\s*\n", block.strip()):
        header = _HEADER.match(paragraph)
        if header and int(header.group(1)) == (found[-1].number + 1 if found else int(header.group(1))):
            found.append(Passage(int(header.group(1)), header.group(2), paragraph[header.end() :]))
        elif found:
            last = found.pop()
            found.append(Passage(last.number, last.header, f"{last.text}\n\n{paragraph}"))
    return found


def sentences(passage: Passage) -> list[Sentence]:
    """What can be quoted of a passage. Questions and headings are no answers; they lend their words to what follows."""
    number, context = passage.number, frozenset(content_words(passage.header))
    found: list[Sentence] = []
    heading = lead = ""
    for kind, group in groupby(_pieces(passage.text), key=lambda piece: piece[0]):
        texts = [text for _, text in group]
        if kind == "heading":
            heading, lead = texts[-1], ""
        elif kind in ("item", "row"):
            quote = _list if kind == "item" else _table
            found += quote(number, context, heading, lead, texts)
            lead = ""
        else:
            for text in texts:
                if text.endswith(("?", ":")):
                    lead = text
                    continue
                found.append(Sentence(number, text, _set(heading, lead, text), context))
                lead = ""
    return found


def _list(number: int, context: frozenset, heading: str, lead: str, items: list[str]) -> list[Sentence]:
    """A list can be quoted by its items and, if it is short, as a whole."""
    items = [item.rstrip(".;,") for item in items]
    title = lead or (heading and f"{heading}:")
    found = [
        Sentence(number, f"{title} {item}".strip(), _set(heading, lead, item), context, _set(item)) for item in items
    ]
    return found + _whole(number, context, title, items)


def _table(number: int, context: frozenset, heading: str, lead: str, rows: list[str]) -> list[Sentence]:
    """A table is quoted like a list of its rows, each cell with the head of its column; the heads lend their words."""
    heads, *rest = ([cell.strip() for cell in row.split("|")] for row in rows)
    found = []
    for first, *cells in rest:
        told = "; ".join(f"{head}: {cell}" for head, cell in zip(heads[1:], cells, strict=False))
        lent = _set(heading, lead, *heads, first, *cells)
        found.append(Sentence(number, f"{first} – {told}", lent, context, _set(first, *cells)))
    return found + _whole(number, context, lead or (heading and f"{heading}:"), [row.text for row in found])


def _whole(number: int, context: frozenset, title: str, items: list[str]) -> list[Sentence]:
    whole = "\n- ".join([title, *items])
    return [Sentence(number, whole, _set(title), context)] if title and len(whole) <= LIST_CHARACTERS else []


def _set(*texts: str) -> frozenset[str]:
    return frozenset(content_words(" ".join(texts)))


def _pieces(text: str) -> list[tuple[str, str]]:
    """("heading", "item", "row" or "prose", text) in order; the lines of a paragraph of prose are joined."""
    pieces: list[tuple[str, str]] = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.strip().split("\n")
        if len(lines) == 1 and _HEADING.fullmatch(lines[0]):
            pieces.append(("heading", lines[0].strip("# ")))
            continue
        blocks: list[tuple[str, str]] = [("prose", "")]
        for line in lines:
            mark = _LIST_ITEM.match(line)
            if line.count(" | ") > 0:
                blocks.append(("row", line.strip("| ")))
            elif mark or blocks[-1][0] == "row":
                blocks.append(("item" if mark else "prose", line[mark.end() if mark else 0 :].strip()))
            else:
                blocks[-1] = (blocks[-1][0], f"{blocks[-1][1]} {line.strip()}".strip())
        for kind, block in blocks:
            pieces += [(kind, piece) for piece in ([block] if kind == "row" else _split_prose(block))]
    return pieces


def _split_prose(block: str) -> list[str]:
    found: list[str] = []
    for piece in _SENTENCE_END.split(block):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] += f" {piece}"
        elif len(piece.strip()) > 1:
            found.append(piece.strip())
    return found


def _weights(wanted: set[str], given: list[Sentence]) -> dict[str, float]:
    """How much each wanted word tells: the rarer in what was given, the more; unknown words most."""
    total = len(given) + 1
    return {word: math.log(1 + total / (1 + sum(word in each.words for each in given))) for word in wanted}


def _scored(question: str, given: list[Passage]) -> tuple[list[tuple[float, Sentence]], dict[str, float]]:
    every = [sentence for passage in given for sentence in sentences(passage)]
    weights = _weights(content_words(question), every)
    whole = sum(weights.values()) or 1.0

    def score(sentence: Sentence) -> float:
        if sentence.own and not sentence.own & weights.keys():
            return 0.0
        inside = sum(weight for word, weight in weights.items() if word in sentence.words)
        around = sum(weight for word, weight in weights.items() if word in sentence.context - sentence.words)
        return (inside + around / 2) / whole

    trust = {passage.number: 1 / (1 + RANK * place) for place, passage in enumerate(given)}
    return [(score(sentence) * trust[sentence.number], sentence) for sentence in every], weights


def best_fit(question: str, given: list[Passage]) -> float:
    """The share of the question's weight that the best sentence carries, 0 to 1."""
    return max((score for score, _ in _scored(question, given)[0]), default=0.0)


def best_sentences(question: str, given: list[Passage], *, least: float, most: int = 3) -> list[Sentence]:
    """The best sentences, best first: those that add words of the question, or are nearly as good as the best."""
    scored, weights = _scored(question, given)
    ranked = sorted(scored, key=lambda pair: -pair[0])  # stable: passages come in the order of their rank
    chosen: list[Sentence] = []
    covered: set[str] = set()
    for score, sentence in ranked:
        hits = (sentence.words | sentence.context) & weights.keys()
        adds = hits - covered or score >= NEARLY * ranked[0][0]
        if score < least or not hits or not adds or any(sentence.text in each.text for each in chosen):
            continue
        chosen.append(sentence)
        covered |= hits
        if len(chosen) == most:
            break
    return chosen


def quoted(found: list[Sentence]) -> str:
    """The sentences as one text, each followed by its passage's number."""
    said = ""
    for sentence in found:
        space = "\n\n" if "\n" in said or (said and "\n" in sentence.text) else " "
        said += f"{space}{sentence.text.rstrip()}{_stop(sentence.text)} [{sentence.number}]"
    return said.strip()


def _stop(text: str) -> str:
    return "" if text.rstrip().endswith((".", "!", "…")) or "\n" in text else "."
