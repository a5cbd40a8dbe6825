"""Read the captures, write docs/alexa-traffic.md and its pictures; half a minute."""

from __future__ import annotations

from tests.conftest import ROOT, data_folder
from tests.traffic_page.idle import read_intervals
from tests.traffic_page.page import write_page
from tests.traffic_page.plots import write_all
from tests.traffic_page.uploads import read_all

PAGE = ROOT / "docs" / "alexa-traffic.md"
PICTURES = ROOT / "docs" / "pictures"


def main() -> None:
    """Run."""
    sessions, uploads = read_all(data_folder() / "vcfp-pcap")
    idle = read_intervals(data_folder() / "unisa-2022")
    PAGE.write_text(write_page(sessions, uploads, idle), encoding="utf-8")
    write_all(PICTURES, sessions, uploads, idle)
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
