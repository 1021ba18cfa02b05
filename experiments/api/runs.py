"""Runs of one study, as tables, compared and reported."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from experiments.api.run import Run, table_of
from experiments.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from experiments.report.arms import Group
    from experiments.report.load import Run as LoadedRun
    from experiments.report.tables import Metric

ANSWER = ("points", "low", "high", "p", "improvement")  # of the referee


class Runs(Sequence[Run]):
    """Runs by arm, seed and id. `lost` says what could not be read, a line each.

    Where they are those of a sweep's folder, its file says what was asked (baseline, contrasts,
    roles of parameters), as for the verb `report`.
    """

    def __init__(
        self, runs: Iterable[Run], lost: Sequence[str] = (), study: Path | None = None
    ) -> None:
        self._runs = tuple(runs)
        self.lost = tuple(lost)
        self._study = study

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> "Runs": ...
    def __getitem__(self, place: int | slice) -> "Run | Runs":
        return Runs(self._runs[place]) if isinstance(place, slice) else self._runs[place]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __repr__(self) -> str:
        arms = len({run.arm for run in self})
        return f"Runs({len(self)} runs of {arms} arms)"

    def frame(self, *settings: str) -> "pd.DataFrame":
        """One row a run, the columns of a report's runs.csv and `data`, `loss`, `gamma`, `alpha`
        (words where scheduled): metrics in percent, times in seconds, memory in MiB.

        `settings` are dotted keys of the configuration that become columns, such as
        `optimizer.lr`. Raises UserError where no run has one.
        """
        from experiments.report.settings import flatten
        from experiments.report.tables import metrics_of
        from experiments.report.written import run_facts

        rows: list[dict[str, Any]] = []
        known: set[str] = set()
        groups, _ = self._compared()
        metrics = metrics_of(groups)
        for group in groups:
            for arm in group.arms:
                for run in arm.runs:
                    flat = flatten(run.config)
                    known |= flat.keys()
                    told: dict[str, Any] = {"data": _data_of(run), "loss": arm.loss}
                    told |= {"gamma": arm.gamma, "alpha": arm.alpha}
                    told |= {key: flat.get(key) for key in settings}
                    rows.append(run_facts(arm, run, metrics) | told)
        for key in settings:
            if key not in known:
                raise UserError(f"frame: no run has a setting {key!r}{nearest(key, sorted(known))}")
        return table_of(rows)

    def compare(self, *, metric: str | None = None, baseline: str | None = None) -> "pd.DataFrame":
        """One row an arm, compared with the baseline of its detector and test set as `report` does:
        mean and SD over seeds (percent), `points` above the baseline with the 95 % interval
        `low`..`high`, `p` after Holm's correction, `improvement` (probability that a run of it is
        above one of the baseline) and the `verdict`. NaN: cannot be had from so few seeds.

        `metric`: a key of `Run.metrics`, by default VOC07 mAP where every run has it. `baseline`:
        an arm's name, by default plain cross-entropy or gamma 0.
        """
        from experiments.report.tables import comparison

        groups, primary = self._compared(baseline, metric)
        rows = []
        for row in chain(*(comparison(group, primary) for group in groups)):
            told: dict[str, Any] = {"group": row.group.title, "arm": row.arm.title}
            told |= {"against": row.against.title if row.against else None}
            summary, found = row.summaries[primary.key], row.differences.get(primary.key)
            told |= {"metric": primary.key, "seeds": summary.seeds}
            told |= {"mean": summary.mean, "sd": summary.sd}
            told |= {name: getattr(found, name, None) for name in ANSWER}
            alone = "baseline" if row.is_baseline else "not compared"
            rows.append({**told, "verdict": found.verdict if found else alone})
        return table_of(rows)

    def report(self, out: str | PathLike[str], **options: Any) -> Path:
        """Write the report of these runs into `out`; gives the page's path. `options` are those of
        `experiments.report.write_report`.
        """
        from experiments.report import write_report

        folders = [run.folder for run in self]
        return write_report(folders, Path(out), **{**self._asked(), **options})

    def _compared(
        self, baseline: str | None = None, metric: str | None = None
    ) -> tuple[list["Group"], "Metric"]:
        """The groups as their report compares them, and the deciding metric."""
        from experiments.report.arms import Asked
        from experiments.report.render import compared

        told = self._asked()
        pairs = tuple(tuple(pair) for pair in told.get("contrasts", ()))
        nuisance, scientific = (tuple(told.get(role, ())) for role in ("nuisance", "scientific"))
        seeds = tuple(told.get("seeds", ()))
        asked = Asked(nuisance, scientific, pairs, told.get("equivalence"), seeds)
        baseline = baseline or told.get("baseline")
        return compared([run._loaded for run in self], asked, baseline=baseline, metric=metric)

    def _asked(self) -> dict[str, Any]:
        from experiments.sweep.study import report_options

        return {} if self._study is None else report_options(self._study)


def load_runs(*folders: str | PathLike[str]) -> Runs:
    """Every run at or below `folders`, whatever its status; records that cannot be read are left
    out and told in `Runs.lost`.

    Raises UserError where a folder is missing or none holds a record.
    """
    from experiments.report.load import load_runs as load
    from experiments.sweep.study import study_of

    lost: list[str] = []
    paths = [Path(folder) for folder in folders]
    loaded = load(paths, lost)
    return Runs(map(Run, loaded), lost, study_of(paths))


def _data_of(run: "LoadedRun") -> str:
    """The folder's name of a run's data."""
    data = run.config.get("data")
    root = data.get("root") if isinstance(data, Mapping) else None
    return Path(str(root)).name if root else ""
