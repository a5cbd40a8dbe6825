"""Measure the wake-word detectors: ``python -m tests.audio_bench [TRACE ... | array | cost | page]``.

Without a name: everything, and the page ``docs/wake-word.md`` is written anew. Needs the recordings in
``../shared/data/audio`` and, for the heads that never heard a fold, a run of ``tests.audio_bench.train``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from tests.audio_bench import array, page
from tests.audio_bench.clips import FOLDS
from tests.audio_bench.conditions import Material, load_material
from tests.audio_bench.contestants import CONTESTANTS, FOLDER, TRACES, make_traces
from tests.audio_bench.measure import Trace, find_delay, find_events, listen
from tests.audio_bench.train import held_out_path
from tests.audio_bench.train import main as train
from tests.conftest import data_folder

CHANNELS = (1, 4)


def measure_array(material: Material) -> None:
    """Compare one channel, any of four, and beams, for two detectors."""
    rows = []
    for name, threshold in (CONTESTANTS[1].parts[0], CONTESTANTS[4].parts[0]):
        hits = dict.fromkeys(array.WAYS, 0)
        count = 0
        detector_of = TRACES[name]()
        for one, channels, beams in array.make_array_scenes(material):
            count += 1
            first = listen([one], detector_of)
            rest = listen(channels[1:], detector_of)
            beamed = listen(beams, detector_of)
            sets: list[list[Trace]] = [first.traces, first.traces + rest.traces, beamed.traces]
            for way, traces in zip(array.WAYS, sets, strict=True):
                events = find_events([(trace, threshold) for trace in traces])
                hits[way] += find_delay(events, *first.scenes[0][1:]) is not None
        rows.append({"name": name, "count": count, "hits": hits})
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "array.json").write_text(json.dumps(rows))


def measure_cost() -> None:
    """Measure each set of detectors in processes of its own."""
    costs = {}
    for names in dict.fromkeys(contestant.costs for contestant in CONTESTANTS):
        for channels in CHANNELS:
            command = [sys.executable, "-m", "tests.audio_bench.cost", names, str(channels)]
            output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
            costs[f"{names} {channels}"] = json.loads(output)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "cost.json").write_text(json.dumps(costs))


def main(names: list[str]) -> int:
    """Measure what is named and write the page from all that has been measured."""
    known = [*TRACES, "array", "cost", "page"]
    if unknown := [name for name in names if name not in known]:
        print(f"no part {', '.join(unknown)}: use {', '.join(known)}", file=sys.stderr)
        return 2
    folder = data_folder() / "audio"
    if not folder.is_dir():
        print(f"the recordings are absent: put them in {folder} or set WAKEGUARD_DATA", file=sys.stderr)
        return 2
    if not all(held_out_path(fold).exists() for fold in range(FOLDS)):
        train()
    material = load_material(folder)
    for name in names or known:
        began = time.perf_counter()
        if name in TRACES:
            make_traces(material, name)
        elif name == "array":
            measure_array(material)
        elif name == "cost":
            measure_cost()
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
