"""One function over many captures, in processes here or on a Dask cluster.

Knows: joblib. Refuses to know: what the function does. Results come as they are done. Nothing is written by
joblib: its files are pickles, and there are none of these here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any, TypeVar

from guard.errors import DatasetError

CONNECT_S = 10.0

Task = TypeVar("Task")
Result = TypeVar("Result")


def spread(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int | None, cluster: str | None
) -> Iterator[Result]:
    """Yield ``function(task)`` for each task, in the order in which they are done.

    ``jobs``: processes here, None for one a core; ``cluster``: the address of a Dask scheduler, whose workers
    do it instead. A WakeguardError of a task ends the whole.
    """
    from joblib import Parallel, delayed, parallel_config

    count = min(jobs or os.cpu_count() or 1, max(1, len(tasks)))
    if cluster is None and count == 1:
        yield from map(function, tasks)
        return
    settings: AbstractContextManager[Any] = parallel_config(backend="loky", n_jobs=count)
    with _connect(cluster) if cluster else nullcontext():
        if cluster:
            settings = parallel_config(backend="dask", n_jobs=-1)
        with settings:
            yield from Parallel(return_as="generator_unordered")(delayed(function)(task) for task in tasks)


@contextmanager
def _connect(address: str) -> Iterator[None]:
    """Be a client of the cluster; DatasetError when it cannot be reached or the extra is missing."""
    try:
        distributed: Any = import_module("distributed")  # it says that it is typed, and is not
    except ImportError:
        raise DatasetError(
            f"--cluster needs dask: {sys.executable} -m pip install 'wakeguard[cluster]'"
        ) from None
    try:
        client = distributed.Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise DatasetError(f"no Dask scheduler answers at {address}: {error}") from None
    try:
        yield
    finally:
        client.close()
