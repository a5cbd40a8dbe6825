"""Hypothesis without surprises: seconds and not minutes, the same examples for the same modules loaded.

It takes constants of the loaded modules for examples, too, so a test by itself may be given others than in
the whole suite: a property that holds, holds for both.
"""

from hypothesis import settings

BOUNDED = settings(derandomize=True, deadline=None, database=None, max_examples=120)
FEWER = settings(derandomize=True, deadline=None, database=None, max_examples=30)
