"""Write the dashboard: ``python -m tests.monitoring``."""

from __future__ import annotations

from tests.monitoring import dashboard

if __name__ == "__main__":
    dashboard.FILE.write_text(dashboard.format_dashboard(), encoding="utf-8")
