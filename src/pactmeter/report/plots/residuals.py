"""What a power model leaves: of workloads that were left out, or of runs that are named.

Without runs the errors of the model's own validation are drawn, workload by workload; with runs
what it says of each of their windows stands against what was measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pactmeter.analysis.powermodel.build import predict
from pactmeter.analysis.powermodel.fit import predicted_w
from pactmeter.analysis.powermodel.groups import group_of
from pactmeter.analysis.powermodel.original import is_original, read_original
from pactmeter.analysis.powermodel.table import REMAINDER, collect
from pactmeter.analysis.powermodel.windows import windows
from pactmeter.analysis.run import load
from pactmeter.errors import FileError, PactError
from pactmeter.model.power_model import read_model
from pactmeter.report.plots.style import (
    BAND,
    BLACK,
    BLUE,
    CYCLE,
    GREY,
    PALE,
    RASTER,
    VERMILLION,
    head,
    legend,
    panels,
    plain,
    sample,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pactmeter.analysis.powermodel.windows import Windows
    from pactmeter.report.plots.asked import Asked

_MARKERS = ("o", "s", "^", "D", "v")
_MOST = 40


def draw(asked: Asked) -> Figure:
    """Return the picture.

    Raises:
        ConfigError: A run is of another machine than the model.
        FileError: The model or a run cannot be read.
        PactError: A run lacks what the model takes, or the measured power.
    """
    model, *files = asked.files
    formula, data = read_model(Path(model))
    try:
        if not files:
            return _left_out(asked, data)
        return _of_runs(asked, files, formula, data)
    except PactError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"the model {model} is damaged: {error!r}", "fit it again") from error


def _left_out(asked: Asked, data: dict[str, Any]) -> Figure:
    """Draw bias and RMSE of each workload when the model was fitted without it."""
    judged = data["validation"]["workload"]
    each = list(judged["each"].items())
    figure, (axes,) = panels(asked, 1, 0.9 + 0.2 * min(len(each), _MOST))
    names = []
    for row, (name, found) in enumerate(each[:_MOST]):
        axes.plot([0, found["rmse_w"]], [row, row], color=PALE, linewidth=3, solid_capstyle="butt")
        axes.plot([found["rmse_w"]], [row], "s", color=BLUE)
        axes.plot([found["bias_w"]], [row], "o", color=VERMILLION)
        names.append(plain(str(name), 24))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axvline(0, color=GREY, linewidth=0.8)
    handles = [
        sample("RMSE", BLUE, marker="s"),
        sample("bias (predicted less measured)", VERMILLION, marker="o"),
    ]
    styles = ((0, (4, 2)), (0, (1, 1.5)))
    for (name, found), style in zip(judged["baselines"].items(), styles, strict=False):
        axes.axvline(found["rmse_w"], color=BLACK, linestyle=style)
        handles.append(sample(f"RMSE of {plain(str(name))}", BLACK, style))
    axes.set_xlabel(f"error of the prediction {_target(data)} / W")
    more = f"and {len(each) - _MOST} more workloads" if len(each) > _MOST else ""
    head(
        axes,
        f"{_marks(data)}each workload predicted by a fit without it; over all: RMSE"
        f" {judged['model']['rmse_w']:.3g} W",
        plain(data["verdict"], 300),
        more,
        names=names,
    )
    legend(figure, handles)
    return figure


def _of_runs(asked: Asked, files: list[str], formula: Any, data: dict[str, Any]) -> Figure:
    """Draw the model's power of each window against what was measured."""
    parts = [_windows(file, float(data["window_s"])) for file in files]
    for part in parts:
        predict(formula, data, part)  # refuses what the model does not hold for
    table = collect(parts, [group_of(part.file) for part in parts], data["target"])
    features = pd.concat([table.features, table.meters], axis=1)
    missing = [name for name in formula.names if name not in features]
    if missing:
        raise PactError(f"not all runs have {', '.join(missing)}", "draw them one by one")
    guess_w = predicted_w(formula, features)
    half_w = float(data["interval"]["window_w"])
    seen = {Path(str(run["file"])).resolve() for run in data["runs"]}
    is_seen = np.repeat(
        [Path(str(run["file"])).resolve() in seen for run in table.runs],
        [run["windows"] for run in table.runs],
    )
    columns = 2 if asked.is_double else 1
    figure, (upper, lower) = panels(asked, 2 // columns, 2.4, columns=columns)
    handles = []
    for k, name in enumerate(np.unique(table.workload)):
        shade = CYCLE[k % len(CYCLE)]
        marker = _MARKERS[k // len(CYCLE) % len(_MARKERS)]
        for was_seen in (False, True):
            here = (table.workload == name) & (is_seen == was_seen)
            style: dict[str, Any] = {
                "linestyle": "none",
                "marker": marker,
                "color": shade,
                "fillstyle": "none" if was_seen else "full",
                "rasterized": len(guess_w) > RASTER,
            }
            upper.plot(table.power_w[here], guess_w[here], **style)
            lower.plot(guess_w[here], (guess_w - table.power_w)[here], **style)
        if k < 2 * len(CYCLE):
            handles.append(sample(plain(str(name)), shade, marker=marker))
    ends = [
        float(min(table.power_w.min(), guess_w.min())),
        float(max(table.power_w.max(), guess_w.max())),
    ]
    upper.plot(ends, ends, color=GREY, linewidth=0.8, zorder=1)
    upper.set_xlabel(f"measured {_target(data)} / W")
    upper.set_ylabel("predicted / W")
    lower.axhspan(-half_w, half_w, color=BAND, linewidth=0, zorder=0)
    lower.axhline(0, color=GREY, linewidth=0.8)
    lower.set_xlabel("predicted / W")
    lower.set_ylabel("predicted less measured / W")
    notes = [f"{_marks(data)}band: ± {half_w:.3g} W, the model's 95 % interval of a window"]
    notes += ["hollow: runs that it was fitted on"] if is_seen.any() else []
    notes += [] if data["beats_baselines"] else [plain(data["verdict"], 300)]
    head(upper, *notes, columns=columns)
    legend(figure, handles)
    return figure


def _windows(file: str, window_s: float) -> Windows:
    if is_original(file):
        return read_original(file, window_s)
    return windows(load(file), window_s)


def _target(data: dict[str, Any]) -> str:
    return "(DC less CPU and GPU)" if data["target"] == REMAINDER else "(DC output)"


def _marks(data: dict[str, Any]) -> str:
    return f"{plain(str(data['synthetic']))} devices; " if data["synthetic"] else ""
