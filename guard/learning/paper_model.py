"""The paper's model: a random forest on seven columns of a packet, after SMOTE.

Knows: which columns, how the classes are made equally large (SMOTE: Chawla et al., JAIR 16, 2002),
scikit-learn's forest with its own settings, as the paper names none. Refuses to know: which packets are for
training (``paper``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from guard.learning.paper_table import PaperRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Texts = NDArray[np.str_]

# The paper's table less the date, the address, the class, and the state of the microphone: with that one its
# figures for justified and not_justified would have been perfect, and they are not.
FEATURES = ("length", "dstport", "highest_layer", "delta", "ack_flag", "content_type", "synchronized")
NEIGHBOURS = 5
TREES = 100  # scikit-learn's own


def get_features(rows: Sequence[PaperRow], *, microphone: bool = False) -> Floats:
    """Return (rows, 7) or, with the microphone's state, (rows, 8); no record type counts as 0."""
    import numpy as np

    names = (*FEATURES, "microphone") if microphone else FEATURES
    return np.array([[float(getattr(row, name) or 0) for name in names] for row in rows])


def get_labels(rows: Sequence[PaperRow]) -> Texts:
    """Return the paper's classes."""
    import numpy as np

    return np.array([row.label for row in rows])


def smote(features: Floats, labels: Texts, seed: int) -> tuple[Floats, Texts]:
    """Return the rows with as many of each class as of the largest: new ones lie between two neighbours."""
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    random = np.random.default_rng(seed)
    names, counts = np.unique(labels, return_counts=True)
    most = counts.max()
    all_features, all_labels = [features], [labels]
    for name, count in zip(names, counts, strict=True):
        missing = most - count
        if not missing:
            continue
        own = features[labels == name]
        near = min(NEIGHBOURS, count - 1)
        if not near:  # alone: there is nothing between it and itself
            neighbours = np.zeros((1, 1), dtype=int)
        else:
            finder = NearestNeighbors(n_neighbors=near + 1).fit(own)
            neighbours = finder.kneighbors(own, return_distance=False)[:, 1:]
        begin = random.integers(0, count, missing)
        end = neighbours[begin, random.integers(0, neighbours.shape[1], missing)]
        all_features.append(own[begin] + random.random((missing, 1)) * (own[end] - own[begin]))
        all_labels.append(np.full(missing, name))
    return np.vstack(all_features), np.concatenate(all_labels)


def train_forest(features: Floats, labels: Texts, seed: int) -> Any:
    """Return the trained forest (``predict`` and ``feature_importances_``)."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=TREES, random_state=seed).fit(features, labels)
