"""Functions for ``python -m subinterpreters map``: what one input means is up to you.

The words of every file, then the longest word of every line:

    cd examples
    python -m subinterpreters map word_count:words *.py --json
    python -m subinterpreters map word_count:longest --lines parallel.py
"""

import re
from collections import Counter

_WORD = re.compile(r"[^\W\d_]+")


def words(path):
    """Return the number of words in the file and its five most frequent ones."""
    with open(path, encoding="utf-8") as file:
        counts = Counter(word.lower() for word in _WORD.findall(file.read()))
    return {"words": counts.total(), "frequent": dict(counts.most_common(5))}


def longest(line):
    """Return the longest word of the line, or an empty text."""
    return max(_WORD.findall(line), key=len, default="")
