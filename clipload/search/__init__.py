"""Searches: ask for the next load, be told the verdict, end with an answer. Pure: no clock, no I/O, no draws of their own."""

from clipload.search.aim import Aim
from clipload.search.answer import Answer
from clipload.search.axes import parse_axis, parse_over
from clipload.search.dialogue import Ask, Search, Told
from clipload.search.find import Find
from clipload.search.grid import Grid, Once, cartesian, zipped
from clipload.search.over import Over

__all__ = [
    "Aim",
    "Answer",
    "Ask",
    "Find",
    "Grid",
    "Once",
    "Over",
    "Search",
    "Told",
    "cartesian",
    "parse_axis",
    "parse_over",
    "zipped",
]
