"""What the document pipeline knows about language: the sentences that matter most, and the kind of a text.

Both are small and old methods that really work, and need no model to download: extractive summaries by word frequency
(Luhn, 1958), and a naive Bayes classifier that learns from the texts in ``data/training``.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from math import log
from pathlib import Path

# Words that are everywhere and say nothing about what a text is about.
STOP_WORDS = frozenset(
    """
    a about above after again all also am an and any are as at be because been before below between both but by can
    could day did do does each few for from further had has have he her here him his how i if in into is it its itself
    just like may me more most my no nor not now of off on once one only or other our out over own same shall she should
    so some such than that the their them then there these they this those three through to too two under until up us
    very was we were what when where which while who will with would you your
    """.split()  # noqa: SIM905 - two hundred lines of quotes would say no more
)


def words(text: str) -> list[str]:
    """The words that carry meaning, in lower case and in order."""
    return [word for word in re.findall(r"[a-zà-ÿ]+", text.lower()) if len(word) > 1 and word not in STOP_WORDS]


def sentences(text: str) -> list[str]:
    """The sentences of a text. A line break ends one too, as it does in letterheads and lists."""
    return [
        sentence.strip()
        for line in text.splitlines()
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-ZÀ-Ý])", line)
        if len(sentence.split()) >= 5
    ]


def summarise(text: str, count: int = 2) -> list[str]:
    """The ``count`` sentences whose words are most typical of the text, in the order in which they stand there."""
    frequency = Counter(words(text))
    found = sentences(text)

    def weight(index: int) -> tuple[float, int]:
        meaning = words(found[index])
        # The mean, not the sum: otherwise the longest sentence always wins. Of equals the earlier one is taken.
        return sum(frequency[word] for word in meaning) / (len(meaning) + 3), -index

    best = sorted(range(len(found)), key=weight, reverse=True)[:count]
    return [found[index] for index in sorted(best)]


def keywords(text: str, count: int) -> list[str]:
    """The words that are used most. Of equals the one that is used first is taken."""
    return [word for word, _ in Counter(words(text)).most_common(count)]


class Classifier:
    """Multinomial naive Bayes over words, with one text of examples per kind."""

    def __init__(self, examples: dict[str, str]) -> None:
        self._counts = {kind: Counter(words(text)) for kind, text in examples.items()}
        self._totals = {kind: counts.total() for kind, counts in self._counts.items()}
        self._vocabulary = len({word for counts in self._counts.values() for word in counts})

    def classify(self, text: str) -> tuple[str, float]:
        """The most likely kind of a text, and by how many times it beats the next one, as a natural logarithm."""
        meaning = words(text)
        scores = sorted(((self._score(kind, meaning), kind) for kind in self._counts), reverse=True)
        return scores[0][1], scores[0][0] - scores[1][0]

    def _score(self, kind: str, meaning: list[str]) -> float:
        counts, size = self._counts[kind], self._totals[kind] + self._vocabulary
        return sum(log((counts[word] + 1) / size) for word in meaning)  # + 1: a new word rules nothing out


@cache
def classifier(folder: Path) -> Classifier:
    """The classifier that has read the files of a folder, each named after its kind. It reads them once."""
    return Classifier({path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))})
