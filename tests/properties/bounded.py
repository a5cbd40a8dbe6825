"""Hypothesis without surprises: the same examples each time, seconds and not minutes."""

from hypothesis import settings

BOUNDED = settings(derandomize=True, deadline=None, database=None, max_examples=120)
FEWER = settings(derandomize=True, deadline=None, database=None, max_examples=30)
