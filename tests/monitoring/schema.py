"""Grafana's own types, asked about the dashboard: TypeScript of ``@grafana/schema``, fetched with npm.

JSON has no enums and TypeScript's string enums take no bare strings, so ``Plain`` reads each as its values;
nothing else is loosened. What the package leaves open (``options`` and ``custom`` of a panel, by its kind)
is held to the panel's own types. The dashboard stands in the program as a literal, so that a key which no
type has is an error, too.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.conftest import ROOT

PACKAGES: Final = ("@grafana/schema@13.2.3", "typescript@5.9.3")
FOLDER: Final = ROOT / "build" / "grafana"
FETCH_S: Final = 300.0

_PANELS: Final = "@grafana/schema/dist/esm/raw/composable"
# kind -> its folder and file in the package, and whether it has field options of its own
_TYPES: Final = {
    "bargauge": ("bargauge/panelcfg/x/BarGaugePanelCfg_types.gen", False),
    "heatmap": ("heatmap/panelcfg/x/HeatmapPanelCfg_types.gen", True),
    "stat": ("stat/panelcfg/x/StatPanelCfg_types.gen", False),
    "state-timeline": ("statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen", True),
    "table": ("table/panelcfg/x/TablePanelCfg_types.gen", True),
    "timeseries": ("timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen", True),
}
_PROLOGUE: Final = """\
import type { Dashboard, DataQuery, Panel, RowPanel } from '@grafana/schema';

// An enum as the values it has; everything else as it is.
type Plain<T> = T extends string ? `${T}` : T extends (infer E)[] ? Plain<E>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
// The package leaves a query to its data source; these are Prometheus' fields.
interface PrometheusQuery extends DataQuery {
  expr: string; instant: boolean; range: boolean; editorMode: 'code' | 'builder';
  format: 'time_series' | 'table' | 'heatmap'; legendFormat: string;
}
interface Drawn<Kind extends string, Options, Field> extends
    Omit<Panel, 'type' | 'options' | 'targets' | 'fieldConfig'> {
  type: Kind; options: Options; targets: PrometheusQuery[];
  fieldConfig: Omit<NonNullable<Panel['fieldConfig']>, 'defaults'> & {
    defaults: Omit<NonNullable<Panel['fieldConfig']>['defaults'], 'custom'> & { custom: Field };
  };
}
"""


class NoSchemaError(Exception):
    """The types cannot be had; the text says why."""


@functools.cache
def fetch() -> None:
    """Have npm put the types and the compiler into the build folder, once. NoSchemaError when it cannot."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise NoSchemaError("npm is not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    stamp = FOLDER / "fetched"
    if stamp.exists() and stamp.read_text() == repr(PACKAGES):
        return
    command = ("npm", "install", "--prefix", str(FOLDER), "--no-audit", "--no-fund", "--no-save", *PACKAGES)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S, check=False)
    except subprocess.TimeoutExpired:
        raise NoSchemaError(f"npm did not answer within {FETCH_S:g} s") from None
    if done.returncode != 0:
        raise NoSchemaError(f"npm cannot fetch {' and '.join(PACKAGES)}")
    stamp.write_text(repr(PACKAGES))


def find_faults(dashboard: dict[str, Any], folder: Path) -> str:
    """Return what the compiler says against the dashboard; nothing when it is one. Writes into ``folder``."""
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    program = folder / "dashboard.ts"
    program.write_text(_write_program(dashboard), encoding="utf-8")
    options = ("--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--target", "es2022")
    compiler = FOLDER / "node_modules" / "typescript" / "bin" / "tsc"
    command = ("node", str(compiler), *options, "--moduleResolution", "bundler", program.name)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def _write_program(dashboard: dict[str, Any]) -> str:
    lines = [_PROLOGUE]
    types = {"row": "RowPanel"}
    for index, (kind, (path, fields)) in enumerate(_TYPES.items()):
        lines.append(f"import type * as kind{index} from '{_PANELS}/{path}';")
        field = f"kind{index}.FieldConfig" if fields else "Record<string, never>"
        types[kind] = f"Drawn<'{kind}', kind{index}.Options, {field}>"
    lines.append("const whole: Plain<Omit<Dashboard, 'panels'>> & { panels: unknown[] } =")
    lines.append(f"{json.dumps(dashboard)};")
    for index, panel in enumerate(dashboard["panels"]):
        lines.append(f"const panel{index}: Plain<{types[panel['type']]}> =\n{json.dumps(panel)};")
    return "\n".join(lines) + "\n"
