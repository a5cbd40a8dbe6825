"""Datasets from captures, models from datasets, figures about models: offline work, never part of the gate.

The learning stack (numpy, polars, scikit-learn, matplotlib, joblib) is imported here and nowhere else, and
inside the function that needs it. Bytes are judged by ``guard.core`` through ``guard.replay``: what is
offline a column is live a verdict of the same code.
"""
