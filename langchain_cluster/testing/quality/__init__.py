"""How often would a semantic cache answer these questions, and how often wrongly? Measured on your own."""

from langchain_cluster.testing.quality.interval import wilson
from langchain_cluster.testing.quality.measure import Measured, Point, measure
from langchain_cluster.testing.quality.plot import draw
from langchain_cluster.testing.quality.read import Judged, read_judged

__all__ = ["Judged", "Measured", "Point", "draw", "measure", "read_judged", "wilson"]
