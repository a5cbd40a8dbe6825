"""The voice model's file: lists of numbers in JSON, checked before a packet depends on them.

Knows: the format, what a damaged or foreign file looks like, that the trees must give the scores that they
gave when they were trained. Refuses to know: scikit-learn; training writes with ``format_model`` what
``load_model`` reads.

    {"format": 1, "name": "voice-v1", "contract": "...", "features": [...], "threshold": 0.8,
     "trees": [{"feature": [], "threshold": [], "left": [], "right": [], "value": []}],
     "parity": [{"vector": [], "score": 0.5}]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guard.core.burst import MODEL_FEATURES, get_contract
from guard.core.forest import LEAF, Forest, Tree
from guard.errors import ModelError

FORMAT = 1
MODEL_FILE = "model.json"
TOLERANCE = 1e-5  # leaves are rounded to six digits

_TREE_LISTS = ("feature", "threshold", "left", "right", "value")
_REMEDY = "reinstall wakeguard, or train a model: wakeguard train"


def format_model(forest: Forest, parity: Sequence[tuple[list[float], float]]) -> str:
    """Return the file's text."""
    content = {
        "format": FORMAT,
        "name": forest.name,
        "contract": get_contract(),
        "features": list(MODEL_FEATURES),
        "threshold": forest.threshold,
        "trees": [{key: getattr(tree, key) for key in _TREE_LISTS} for tree in forest.trees],
        "parity": [{"vector": vector, "score": score} for vector, score in parity],
    }
    return json.dumps(content, separators=(",", ":")) + "\n"


def load_model(path: Path) -> Forest:
    """Return the model in a file, or in a folder's ``model.json``. ModelError says what is wrong with it."""
    file = path / MODEL_FILE if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror}; {_REMEDY}") from error
    except ValueError as error:
        raise ModelError(f"{file} is damaged or not a model: {error}; {_REMEDY}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{file} is no voice model of format {FORMAT}; {_REMEDY}")
    if content.get("contract") != get_contract():
        raise ModelError(
            f"{file} was trained on other features ({content.get('contract')}) than this Wakeguard computes"
            f" ({get_contract()}); {_REMEDY}"
        )
    try:
        return _build(content)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{file} is damaged: {error}; {_REMEDY}") from error


def _build(content: dict[str, Any]) -> Forest:
    trees = tuple(_build_tree(tree) for tree in content["trees"])
    threshold = _number(content["threshold"])
    if not trees or not 0.0 < threshold <= 1.0:
        raise ValueError("it has no trees, or no threshold between 0 and 1")
    forest = Forest(str(content["name"]), threshold, trees)
    if not content["parity"]:
        raise ValueError("it has no rows to check it with")
    for row in content["parity"]:
        vector = [_number(value) for value in row["vector"]]
        if len(vector) != len(MODEL_FEATURES):
            raise ValueError(f"a row to check it with has {len(vector)} features")
        if abs(forest.get_score(vector) - _number(row["score"])) > TOLERANCE:
            raise ValueError("its trees do not give the scores that they gave when they were trained")
    return forest


def _build_tree(content: dict[str, Any]) -> Tree:
    feature, left, right = ([int(value) for value in content[key]] for key in ("feature", "left", "right"))
    threshold, value = ([_number(number) for number in content[key]] for key in ("threshold", "value"))
    nodes = len(feature)
    if not nodes or {len(column) for column in (left, right, threshold, value)} != {nodes}:
        raise ValueError("a tree's lists are not equally long")
    for node in range(nodes):
        if feature[node] == LEAF:
            continue
        # a child stands behind its parent, so that every walk ends
        if not (node < left[node] < nodes and node < right[node] < nodes):
            raise ValueError("a tree's node leads nowhere")
        if not 0 <= feature[node] < len(MODEL_FEATURES):
            raise ValueError("a tree asks for a feature that there is not")
    return Tree(feature, threshold, left, right, value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)
