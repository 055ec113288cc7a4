"""May the answer to one question be given to another? A guard knows one way in which it may not.

Each looks for one kind of difference that an embedding hardly sees: a number, a name, a "not". They read
a question once, and compare what they read. Those for English are here; others implement `Guard`.
"""

from __future__ import annotations

from langchain_cluster.cache.semantic.guards.antonyms import Antonyms
from langchain_cluster.cache.semantic.guards.dates import Dates
from langchain_cluster.cache.semantic.guards.names import Names
from langchain_cluster.cache.semantic.guards.negation import Negation
from langchain_cluster.cache.semantic.guards.numbers import Numbers
from langchain_cluster.cache.semantic.guards.order import Order
from langchain_cluster.cache.semantic.guards.people import People
from langchain_cluster.cache.semantic.guards.replaced import Replaced
from langchain_cluster.cache.semantic.guards.seam import Guard, Guards
from langchain_cluster.cache.semantic.guards.words import Words

ENGLISH: tuple[Guard, ...] = (
    Numbers(),
    Dates(),
    Names(),
    Negation(),
    Antonyms(),
    People(),
    Order(),
    Replaced(),
)
"""Those a `SemanticCache` has by default. A question of another language passes most of them."""

__all__ = [
    "ENGLISH",
    "Antonyms",
    "Dates",
    "Guard",
    "Guards",
    "Names",
    "Negation",
    "Numbers",
    "Order",
    "People",
    "Replaced",
    "Words",
]
