"""What uninstall takes: a state directory that the owner chose is emptied of the gate's own files alone."""

from __future__ import annotations

from pathlib import Path

from guard.setup.places import CONFIG, Places
from guard.setup.removal import plan_removal, remove


def test_others_files_in_a_chosen_state_directory_stay(tmp_path: Path) -> None:
    places = Places(tmp_path)
    config = places.at(CONFIG)
    config.parent.mkdir(parents=True)
    config.write_text(
        '[[device]]\nname = "kitchen"\nmac = "68:37:e9:00:00:01"\n[network]\nlan = "lan0"\n'
        '[state]\ndirectory = "/data"\n'
    )
    folder = places.at("/data")
    folder.mkdir()
    own = {"mode.json", "policies.json", "gate.lock", "journal.sqlite", "journal.sqlite-wal"}
    own.add("journal.sqlite.damaged")
    others = {"journal.txt", "journal.md", "diary"}
    for name in own | others:
        folder.joinpath(name).write_text(name)
    list(remove(plan_removal(places, keep_config=False, managed=False)))
    assert {path.name for path in folder.iterdir()} == others
    assert not config.exists()
