"""Searches: ask for the next load, be told the verdict, end with an answer. Pure: no clock, no I/O, no randomness of their own."""
