"""The voice model's forest: how it is grown and cut down to lists.

Knows: scikit-learn, which rows it is shown and how heavy each is, what physics says of a feature. Refuses to
know: thresholds (``trial``), files (``export``).

Two homes have two codecs, and a home that is not among them may have a third. So each upload's rows are shown
again as codecs of other frame sizes and rates would have sent them, with lengths and times scaled, up to
LONGEST bytes a record: a frame of speech is no longer. Reports are written in records as long as a buffer, so
those longer than that are shown again as other buffers would have cut them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard.core.burst import MODEL_FEATURES
from guard.core.forest import LEAF, Forest, Tree
from guard.learning.examples import OTHER, VOICE, Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TREES, DEPTH, LEAF_SHARE = 16, 5, 0.005
PARITY_ROWS = 32
FIRST_ROWS, MORE_ROWS = 12, 12  # of an upload: those that decide, and some of the rest
COPIES = 4  # of each row, as other codecs would have sent it
SHORTEST, LONGEST = 44, 1100  # bytes of a record: 6 kbit/s in 20 ms frames, 256 kbit/s in 32 ms
BUFFERS = (LONGEST + 100, 16384)  # bytes of a record of a report
TEMPO = (0.5, 4.0)  # how much slower another codec's records may follow

# What more of a feature says, whatever was seen: a longer run speaks for a voice, longer records against it.
_DIRECTIONS = {"run": 1, "equal": 1, "sizes": -1, "length": -1, "longest": -1}
_LENGTHS = ("unit", "length", "mean_length", "longest", "shortest")
_TIMES = ("seconds", "mean_gap_s", "longest_gap_s")


@dataclass(frozen=True, slots=True)
class Grown:
    """A forest, and rows with the scores that scikit-learn itself gives them."""

    forest: Forest
    parity: list[tuple[list[float], float]]


def grow(examples: Sequence[Example], seed: int, *, name: str = "voice", threshold: float = 0.5) -> Grown:
    """Return the forest grown on these examples."""
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.default_rng(seed)
    voices, others, weights = _collect(examples, random)
    spoken = np.vstack([voices, *(_recode(voices, random) for _ in range(COPIES))])
    written = np.vstack([others, *(_rebuffer(others, random) for _ in range(COPIES))])
    weights = np.tile(weights, COPIES + 1)
    features = np.vstack([spoken, written])
    labels = np.concatenate([np.full(len(spoken), VOICE), np.full(len(written), OTHER)])
    heavy = np.concatenate([np.full(len(spoken), weights.sum() / len(spoken)), weights])
    grown = RandomForestClassifier(
        TREES,
        max_depth=DEPTH,
        min_weight_fraction_leaf=LEAF_SHARE,
        monotonic_cst=[_DIRECTIONS.get(feature, 0) for feature in MODEL_FEATURES],
        random_state=seed,
    ).fit(features, labels, sample_weight=heavy)
    picked = features[random.choice(len(features), PARITY_ROWS, replace=False)].astype(np.float32)
    scores = grown.predict_proba(picked)[:, VOICE]
    return Grown(
        Forest(name, threshold, tuple(_cut(tree.tree_) for tree in grown.estimators_)),
        [(list(map(float, row)), float(score)) for row, score in zip(picked, scores, strict=True)],
    )


def _collect(examples: Sequence[Example], random: Any) -> tuple[Floats, Floats, Floats]:
    """Return the rows of voices, those of everything else, and the latter's weights: a burst weighs one."""
    import numpy as np

    width = len(MODEL_FEATURES)
    voices: list[list[float]] = []
    others: list[list[float]] = []
    bursts: list[tuple[str, str, float]] = []
    for example in examples:
        uploads: dict[int, list[list[float]]] = {}
        for row, label in zip(example.reading.rows, example.labels, strict=True):
            vector = row.vector[:width]
            if label == OTHER:
                others.append(vector)
                bursts.append((example.name, row.flow, row.began_at))
            elif label == VOICE and (upload := example.find_upload(row.now)) is not None:
                uploads.setdefault(upload, []).append(vector)
        for rows in uploads.values():
            later = rows[FIRST_ROWS:]
            picked = random.permutation(len(later))[:MORE_ROWS]
            voices += rows[:FIRST_ROWS] + [later[index] for index in sorted(picked)]
    sizes = Counter(bursts)
    return np.array(voices), np.array(others), np.array([1.0 / sizes[burst] for burst in bursts])


def _recode(rows: Floats, random: Any) -> Floats:
    """Return the rows as codecs of other frame sizes and rates would have sent them."""
    import numpy as np

    length = rows[:, MODEL_FEATURES.index("length")]
    size = _draw(SHORTEST / length, np.maximum(LONGEST, length) / length, random)
    slowest, fastest = (np.full(len(rows), tempo) for tempo in TEMPO)
    return _scale(rows, size, _draw(slowest, fastest, random))


def _rebuffer(rows: Floats, random: Any) -> Floats:
    """Return the rows as they would be if long records were cut as another buffer is long."""
    import numpy as np

    length = rows[:, MODEL_FEATURES.index("length")]
    size = _draw(BUFFERS[0] / length, BUFFERS[1] / length, random)
    return _scale(rows, np.where(length > LONGEST, size, 1.0), np.ones(len(rows)))


def _draw(low: Floats, high: Floats, random: Any) -> Floats:
    """Return factors between the two, each magnitude as likely as the next."""
    import numpy as np

    return np.asarray(low * (high / low) ** random.random(len(low)))


def _scale(rows: Floats, size: Floats, tempo: Floats) -> Floats:
    """Return the rows with all lengths times ``size``, all times times ``tempo``."""
    import numpy as np

    made = rows.copy()
    for index, feature in enumerate(MODEL_FEATURES):
        if feature in _LENGTHS:
            made[:, index] *= size
        elif feature in _TIMES:
            made[:, index] *= tempo
        elif feature == "bytes_per_s":
            made[:, index] *= size / tempo
    return np.asarray(np.round(made, 6))


def _cut(tree: Any) -> Tree:
    """Return one of scikit-learn's trees as lists."""
    votes = tree.value[:, 0, :]
    shares = votes[:, VOICE] / votes.sum(axis=1)
    return Tree(
        feature=[int(feature) if feature >= 0 else LEAF for feature in tree.feature],
        threshold=[float(threshold) for threshold in tree.threshold],
        left=[int(node) for node in tree.children_left],
        right=[int(node) for node in tree.children_right],
        value=[round(float(share), 6) for share in shares],
    )
