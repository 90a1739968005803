"""Efficiency curves of power supplies: AC input power over DC output power."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Curve:
    """AC input power over DC output power: ``a*P^2 + b*P + c``, in watts."""

    a: float
    b: float
    c: float

    def at(self, dc_w: float) -> float:
        """Return the AC input power, in watts, for a DC output power in watts."""
        return (self.a * dc_w + self.b) * dc_w + self.c


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The curves of one model at the two nominal mains voltages.

    Attributes:
        at_115_v: Curve at 115 V.
        at_230_v: Curve at 230 V.
        source: Where the curves come from, for the channel's description.
        accuracy_pct: Half-width (k=2) of the curve alone, in percent of the AC power.
    """

    at_115_v: Curve
    at_230_v: Curve
    source: str
    accuracy_pct: float


@dataclass(frozen=True, slots=True)
class Tier:
    """Minimum efficiencies of an 80 PLUS tier, as shares at 20, 50 and 100 % load.

    Attributes:
        name: Name of the tier.
        at_115_v: At 115 V.
        at_230_v: At 230 V (EU).
    """

    name: str
    at_115_v: tuple[float, float, float]
    at_230_v: tuple[float, float, float]


GOLD = Tier("Gold", (0.87, 0.90, 0.87), (0.90, 0.92, 0.89))
PLATINUM = Tier("Platinum", (0.90, 0.92, 0.89), (0.92, 0.94, 0.90))

# Half-width of a model's own curve: against the certificates of the same models the published
# ones give -0.5 to +2.1 % from 20 % load on (up to +4.4 % at 10 %), against one plug meter +2.0 %.
_OWN_PCT = 3.0
# Half-width of the minimum of a tier: over 733 Gold certificates the mean of both voltages is
# within -1 to +3.3 % (p5 to p95) from 20 % load on; at 10 % no tier below Titanium has a limit,
# and there it gives 4.5 % too much on average.
_MINIMUM_PCT = 5.0

_Fit = tuple[float, float, float]


def published(at_115_v: _Fit, at_230_v: _Fit) -> Efficiency:
    """Return the curves fitted to what the maker publishes."""
    return Efficiency(Curve(*at_115_v), Curve(*at_230_v), "the maker's efficiency curve", _OWN_PCT)


def certified(at_115_v: _Fit, at_230_v: _Fit) -> Efficiency:
    """Return the curves fitted to the certificate of the model."""
    return Efficiency(
        Curve(*at_115_v), Curve(*at_230_v), "the efficiencies of its certificate", _OWN_PCT
    )


def minimum(rated_w: float, tier: Tier) -> Efficiency:
    """Return the curves that a supply with just the minimum efficiencies of its tier would have."""
    return Efficiency(
        _through(rated_w, tier.at_115_v),
        _through(rated_w, tier.at_230_v),
        f"the 80 PLUS {tier.name} minimum efficiencies",
        _MINIMUM_PCT,
    )


def _through(rated_w: float, shares: tuple[float, float, float]) -> Curve:
    """Return the curve through the AC powers that three efficiencies stand for."""
    loads_w = (0.2 * rated_w, 0.5 * rated_w, rated_w)
    ac_w = [load_w / share for load_w, share in zip(loads_w, shares, strict=True)]
    low = (ac_w[1] - ac_w[0]) / (loads_w[1] - loads_w[0])
    high = (ac_w[2] - ac_w[1]) / (loads_w[2] - loads_w[1])
    a = (high - low) / (loads_w[2] - loads_w[0])
    b = low - a * (loads_w[0] + loads_w[1])
    return Curve(a, b, ac_w[0] - (a * loads_w[0] + b) * loads_w[0])
