"""The regression study of the original PACT: its recipe as a preset, and its files.

The recipe: features by principal feature analysis (Lu et al. 2007), windows clustered by k-means,
a linear regression in each cluster. It is fitted and judged here as every model is: whole
workloads are left out, and windows do not overlap.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pactmeter.analysis.powermodel.checks import constant
from pactmeter.analysis.powermodel.fit import described
from pactmeter.analysis.powermodel.windows import CPU, DC, GPU, Windows, check_length, known, means
from pactmeter.errors import FileError
from pactmeter.model.power_model import Formula, Piece

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

COLUMNS = (
    "index",
    "start_time",
    "duration(s)",
    "Total_PSU_Power(W)",
    "Nvidia_SMI_Power(W)",
    "Intel_RAPL_Power(W)",
    "GPU_Util_SM(%)",
    "GPU_Util_Memory(%)",
)
_POWERS = {DC: COLUMNS[3], GPU: COLUMNS[4], CPU: COLUMNS[5]}
_SHARES = {"gpu.util_sm_pct": COLUMNS[6], "gpu.util_mem_pct": COLUMNS[7]}
_EVENTS = 4
_NOTES = (
    (
        "the original PACT sums running totals: with N readings in a row its counts are about"
        " (N+1)/2 times too large (50.5 times at 1 s and 0.01 s), so a model of them holds for"
        " its own files of the same periods alone"
    ),
    "its durations belong to the row before, its RAPL power is the mean of two unequal windows",
    "Total_PSU_Power(W) is DC output power",
    "it does not record the host: that these runs are of one machine cannot be checked",
)
_CLUSTERS = 5
_VARIANCE = 0.95
_SEED = 0


def is_original(path: str | Path) -> bool:
    """Return whether a file has the twelve columns of the original PACT."""
    try:
        if not Path(path).is_file():  # what a device holds may have no end
            return False
        with Path(path).open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return _is_header(header)


def _is_header(header: list[str]) -> bool:
    # pandas writes the name of an index as nothing
    return len(header) == len(COLUMNS) + _EVENTS and tuple(header[1:8]) == COLUMNS[1:]


def read_original(path: str | Path, window_s: float) -> Windows:
    """Return the windows of a file of the original PACT; its defects are told in the notes.

    Raises:
        ConfigError: `window_s` is no length.
        FileError: It cannot be read, or is no such file.
    """
    check_length(window_s)
    if not is_original(path):
        raise FileError(f"{path} is no file of the original PACT", "it has twelve columns")
    try:
        rows = pd.read_csv(path, index_col=False, on_bad_lines="skip", dtype=str)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {path}: {error}") from error
    numbers = rows.drop(columns=COLUMNS[1]).apply(pd.to_numeric, errors="coerce")
    numbers = known(numbers.astype(float))
    is_row = numbers[COLUMNS[2]] > 0
    numbers = numbers[is_row].reset_index(drop=True)
    duration_s = numbers[COLUMNS[2]]
    for name in (DC, CPU):  # it writes 0 W where a read failed
        numbers[_POWERS[name]] = numbers[_POWERS[name]].where(numbers[_POWERS[name]] > 0)
    events = {f"{column}_per_s": column for column in map(str, rows.columns[len(COLUMNS) :])}
    values = {name: numbers[column] for name, column in {**_POWERS, **_SHARES}.items()}
    values |= {name: numbers[column] / duration_s for name, column in events.items()}
    times = pd.DataFrame({"read_s": duration_s.cumsum(), "window_s": duration_s})
    return Windows(
        file=str(path),
        table=means(pd.DataFrame(values), times, window_s),
        features=(*events, *_SHARES),
        totals={name: float(numbers[column].sum()) for name, column in events.items()},
        events=dict(events),
        source="original",
        span_s=_span_s(rows.loc[is_row, COLUMNS[1]]),
        notes=_NOTES,
    )


def _span_s(starts: pd.Series) -> tuple[float, float] | None:
    """Return when a file was recorded; its times are local, and cut to whole seconds."""
    times = pd.to_datetime(starts, errors="coerce", format="%Y-%m-%d %H:%M:%S").dropna()
    if times.empty:
        return None
    first_s = times.min().timestamp()
    # a whole second less at either end: what is cut off must not look like an overlap
    return first_s + 1, max(first_s + 1, times.max().timestamp() - 1)


def principal_features(features: pd.DataFrame, share: float = _VARIANCE) -> list[str]:
    """Choose features by principal feature analysis (Lu, Cohen, Zhou and Tian 2007).

    So many components are kept that they hold `share` of the variance; the features' loadings on
    them are clustered, and of each cluster the feature nearest to its middle stays.
    """
    still = constant(features)
    names = [str(name) for name in features.columns if name not in still]
    if len(names) < 2:
        return names
    scaled = StandardScaler().fit_transform(features[names].to_numpy(float))
    analysis = PCA().fit(scaled)
    held = np.cumsum(analysis.explained_variance_ratio_)
    count = min(int(np.searchsorted(held, share)) + 1, len(held))
    loadings = np.abs(analysis.components_[:count].T)
    groups = _clusters(loadings, count + 1)
    distances = groups.transform(loadings)
    chosen = {int(distances[:, cluster].argmin()) for cluster in range(distances.shape[1])}
    return [names[place] for place in sorted(chosen)]


def piecewise(features: pd.DataFrame, power_w: Floats, groups: npt.NDArray[np.str_]) -> Formula:
    """Fit a line in each of up to five clusters of windows, over the principal features.

    A cluster with fewer windows than twice its coefficients has the line of all windows.
    """
    del groups
    names = principal_features(features)
    dropped = {
        str(name): "not a principal feature" for name in features.columns if name not in names
    }
    whole = described(features[names], [Piece(0.0, (0.0,) * len(names))], dropped)
    values = features[names].to_numpy(float)
    if not names:
        return described(features[[]], [Piece(float(np.mean(power_w)), ())], dropped)
    scaled = values / np.array([feature.scale for feature in whole.features])
    clusters = _clusters(scaled, _CLUSTERS)
    pieces = []
    for place, centre in enumerate(clusters.cluster_centers_):
        mine = clusters.labels_ == place
        if mine.sum() < 2 * (len(names) + 1):
            mine = np.ones(len(power_w), bool)
        line = LinearRegression().fit(scaled[mine], power_w[mine])
        slopes = line.coef_ / np.array([feature.scale for feature in whole.features])
        pieces.append(
            Piece(float(line.intercept_), tuple(map(float, slopes)), tuple(map(float, centre)))
        )
    return described(features[names], pieces, dropped)


def _clusters(points: Floats, count: int) -> KMeans:
    most = len(np.unique(points.round(9), axis=0))
    # so few points take threads longer to share than to cluster
    with threadpool_limits(1, "openmp"):
        return KMeans(min(count, most), n_init=10, random_state=_SEED).fit(points)
