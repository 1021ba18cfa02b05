"""Hyperband as W&B decides it: at each band, runs outside the best 1 / eta are stopped.

Source: L. Li et al., "Hyperband", JMLR 18(185), 2018, and the rule of W&B's sweeps 0.3:
thresholds are quantiles over every run that reached the band, finished or not; a history counts
logged values.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hyperband:
    """`early_terminate` of a sweep file; bands go up from min_iter, or down from max_iter."""

    min_iter: int | None = None
    max_iter: int | None = None
    s: int | None = None
    eta: float = 3.0
    strict: bool = True

    def __post_init__(self) -> None:
        if self.eta <= 1:
            raise ValueError(f"eta: must be > 1, found {self.eta}")
        if self.s is not None and self.s < 1:
            raise ValueError(f"s: must be >= 1, found {self.s}")
        if self.max_iter is None and self.min_iter is None:
            raise ValueError("min_iter: is needed, or max_iter together with s")
        if self.max_iter is not None and self.s is None:
            raise ValueError("s: is needed with max_iter: how many bands to count back from it")
        if self.min_iter is not None and (self.max_iter is not None or self.s is not None):
            raise ValueError("min_iter: gives the bands by itself; leave max_iter and s out, or it")
        if self.min_iter is not None and self.min_iter < 1:
            raise ValueError(f"min_iter: must be >= 1, found {self.min_iter}")
        if not self.bands():
            raise ValueError("max_iter: leaves no band; raise it, or lower eta or s")

    def bands(self) -> tuple[int, ...]:
        """The history lengths at which a run is judged, ascending."""
        if self.max_iter is not None:
            sizes, size = [], float(self.max_iter)
            for _ in range(int(self.s or 0)):
                size /= self.eta
                if size < 1:
                    break
                sizes.append(int(size))
            return tuple(sorted(sizes))
        first = float(self.min_iter or 1)
        return tuple(int(first * self.eta**i) for i in range(100) if self.eta**i < 1e12)

    def stops(
        self, histories: Mapping[int, Sequence[float]], running: Sequence[int], *, maximize: bool
    ) -> tuple[int, ...]:
        """The `running` trials to stop, given every trial's values of the metric so far."""
        sign = -1.0 if maximize else 1.0
        losses = {
            n: [sign * value for value in values if math.isfinite(value)]
            for n, values in histories.items()
        }
        longest = max((len(values) for values in losses.values()), default=0)
        thresholds = {
            band: self._threshold(band, losses) for band in self.bands() if band <= longest
        }
        return tuple(n for n in running if self._is_worse(losses.get(n, []), thresholds))

    def _threshold(self, band: int, losses: Mapping[int, Sequence[float]]) -> float:
        reached = sorted(values[band - 1] for values in losses.values() if len(values) >= band)
        return reached[int(len(reached) * (1.0 / self.eta))]

    def _is_worse(self, values: Sequence[float], thresholds: Mapping[int, float]) -> bool:
        passed = [band for band in thresholds if band <= len(values)]
        if not passed:
            return False
        judged = values[passed[-1] - 1] if self.strict else min(values)
        return judged > thresholds[passed[-1]]
