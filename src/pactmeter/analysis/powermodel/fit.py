"""Fitting a line to power; features are chosen and scaled on the very windows it is fitted to.

Always with an intercept: a machine at rest draws power, and a ratio alone is wrong by twice as
much where the share of idle varies (12.2 against 6.0 %, data of Fischer 2025, arXiv 2509.22092).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNetCV, LinearRegression
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.preprocessing import StandardScaler

from pactmeter.analysis.powermodel.checks import eliminate
from pactmeter.errors import PactError
from pactmeter.model.power_model import Feature, Formula, Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]
    Fit = Callable[[pd.DataFrame, Floats, npt.NDArray[np.str_]], Formula]

_L1_SHARE = 0.5
_PENALTIES = tuple(10.0**power for power in range(-4, 1))
_INNER_FOLDS = 5


def linear(features: pd.DataFrame, power_w: Floats, groups: npt.NDArray[np.str_]) -> Formula:
    """Fit by least squares, after features of VIF 10 and more are left out.

    Args:
        features: A row a window.
        power_w: What is modelled, in watts.
        groups: Workload of each window; not used here.
    """
    del groups
    kept, dropped = eliminate(features)
    scaler, scaled = _scaled(features[kept])
    regression = LinearRegression().fit(scaled, power_w)
    piece = _unscaled(scaler, regression.coef_, float(regression.intercept_))
    return described(features[kept], [piece], dropped)


def nonnegative(features: pd.DataFrame, power_w: Floats, groups: npt.NDArray[np.str_]) -> Formula:
    """Fit with coefficients that are never negative and are kept small (elastic net).

    The penalty is the one that predicts left-out workloads best, within the windows given. Where
    there is but one workload, it is the mildest.
    """
    kept, dropped = eliminate(features)
    spread_w = float(np.std(power_w))
    if not kept or spread_w == 0:
        return described(features[[]], [Piece(float(np.mean(power_w)), ())], dropped)
    scaler, scaled = _scaled(features[kept])
    net = ElasticNetCV(
        l1_ratio=_L1_SHARE,
        alphas=_PENALTIES,
        positive=True,
        cv=_inner_folds(groups),
        max_iter=50_000,
    )
    with warnings.catch_warnings():
        # the penalties tried that do not converge predict worse, and are not chosen
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(scaled, power_w / spread_w)
    piece = _unscaled(scaler, net.coef_ * spread_w, float(net.intercept_) * spread_w)
    used = [i for i, coefficient in enumerate(piece.coefficients) if coefficient != 0]
    dropped |= {kept[i]: "it does not help" for i in range(len(kept)) if i not in used}
    piece = Piece(piece.intercept_w, tuple(piece.coefficients[i] for i in used))
    return described(features[[kept[i] for i in used]], [piece], dropped)


def mean(features: pd.DataFrame, power_w: Floats, groups: npt.NDArray[np.str_]) -> Formula:
    """Return the mean: the least that a model must beat. Workloads count alike."""
    each_w = [power_w[groups == name].mean() for name in np.unique(groups)]
    return described(features[[]], [Piece(float(np.mean(each_w)), ())], {})


def described(features: pd.DataFrame, pieces: Sequence[Piece], dropped: dict[str, str]) -> Formula:
    """Return a formula over these features, with what they were in the windows it was fitted to."""
    values = features.to_numpy(float)
    inputs = [
        Feature(str(name), float(column.std()) or 1.0, (float(column.min()), float(column.max())))
        for name, column in zip(features.columns, values.T, strict=True)
    ]
    formula = Formula(tuple(inputs), tuple(pieces), dropped)
    numbers = [n for piece in pieces for n in (piece.intercept_w, *piece.coefficients)]
    if not np.isfinite(numbers).all():
        raise PactError("the fit has no finite coefficients", "look for absurd values in the runs")
    return formula


def predicted_w(formula: Formula, features: pd.DataFrame) -> Floats:
    """Return the power of each window, in watts."""
    rows = features[formula.names].to_numpy(float)
    return np.array([formula.power_w(row) for row in rows.tolist()])


def _inner_folds(groups: npt.NDArray[np.str_]) -> list[tuple[npt.NDArray[np.intp], ...]]:
    count = len(np.unique(groups))
    if count < 2:
        everything = np.arange(len(groups))
        return [(everything, everything)]
    splitter = GroupKFold(_INNER_FOLDS) if count > _INNER_FOLDS else LeaveOneGroupOut()
    return list(splitter.split(groups, groups=groups))


def _scaled(features: pd.DataFrame) -> tuple[StandardScaler, Floats]:
    scaler = StandardScaler()
    if features.shape[1] == 0:
        return scaler, features.to_numpy(float)
    return scaler, scaler.fit_transform(features.to_numpy(float))


def _unscaled(scaler: StandardScaler, coefficients: Floats, intercept_w: float) -> Piece:
    raw = coefficients / scaler.scale_
    return Piece(intercept_w - float(raw @ scaler.mean_), tuple(map(float, raw)))
