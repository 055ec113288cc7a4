"""What is asked: real questions, always the same, in the same order, none of them twice in a run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, product

QUESTIONS = (
    "What is the capital of France?",
    "How many days are in a week?",
    "Which planet is the largest?",
    "What do bees make?",
    "Why is the sky blue?",
    "What is ice made of?",
    "Who wrote Hamlet?",
    "What is the opposite of hot?",
    "Which ocean is the deepest?",
    "What does a thermometer measure?",
    "How many legs has a spider?",
    "What is the capital of Japan?",
    "Which animal says moo?",
    "What do plants need to grow?",
    "What is the boiling point of water?",
    "Which metal is liquid at room temperature?",
    "What language is spoken in Brazil?",
    "What is a group of wolves called?",
    "Which season follows winter?",
    "What does a librarian do?",
    "How many minutes are in an hour?",
    "Which gas do we breathe in to live?",
    "What is the currency of India?",
    "What is bread made of?",
)
MANNERS = (
    "Answer in one short sentence.",
    "Answer in five words.",
    "Tell a child in one sentence.",
    "Give only the answer.",
    "Answer politely and shortly.",
    "Answer like a teacher, in one sentence.",
    "Answer in plain words.",
    "Answer in at most ten words.",
)


def questions() -> Iterator[str]:
    """Without an end: after the last of them they are numbered."""
    for manner, question in product(MANNERS, QUESTIONS):
        yield f"{question} {manner}"
    for number in count(1):
        for question in QUESTIONS:
            yield f"{number}. {question}"
