"""What a paper's appendix holds: hyperparameters by their role, a reproducibility checklist filled
from the records, and a model card.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.evaluation.verdict import fixed, listed
from experiments.report.arms import Arm, Group
from experiments.report.choice import LOSS, is_below
from experiments.report.identity import hardware, versions
from experiments.report.load import Run
from experiments.report.settings import comparable, differing, plain
from experiments.report.tables import Metric
from experiments.report.written import escape_latex

ROLES = ("scientific", "nuisance", "fixed")
UNKNOWN = "not on record"


def hyperparameters(groups: Sequence[Group]) -> str:
    """A long table of every setting: its role and its values. Scientific ones tell arms apart,
    nuisance ones were set for each arm, fixed ones are the same in all.
    """
    lines = [
        r"\begin{longtable}{@{}llp{0.45\linewidth}@{}}",
        r"\caption{Hyperparameters: scientific ones tell arms apart, nuisance ones were set for"
        r" each arm, fixed ones are the same in all.}\label{tab:hyperparameters}\\",
        r"\toprule Setting & Role & Value \\ \midrule \endfirsthead",
        r"\toprule Setting & Role & Value \\ \midrule \endhead",
        r"\bottomrule \endfoot",
    ]
    for group in groups:
        lines.append(
            f"\\multicolumn{{3}}{{@{{}}l}}{{\\textbf{{{escape_latex(group.title)}}}}} \\\\"
        )
        for role in ROLES:
            for key, values in _of_role(group, role):
                name = r"\texttt{" + escape_latex(key).replace(".", r".\allowbreak{}") + "}"
                lines.append(f"{name} & {role} & {escape_latex(listed(values, 8))} \\\\")
    return "\n".join([*lines, r"\end{longtable}", ""])


def _of_role(group: Group, role: str) -> list[tuple[str, list[str]]]:
    flats = comparable([arm.runs[0].config for arm in group.arms])
    different = set(differing(flats))
    found = []
    for key in sorted({key for flat in flats for key in flat}):
        nuisance = any(is_below(key, one) for one in group.asked.nuisance)
        scientific = key in different and not nuisance
        mine = "nuisance" if nuisance else "scientific" if scientific else "fixed"
        if mine == role:
            found.append((key, _in_order([flat[key] for flat in flats if key in flat])))
    return found


def _in_order(values: Sequence[Any]) -> list[str]:
    """Each value once, in words; numbers by size."""
    if all(isinstance(value, (int, float)) for value in values):
        values = sorted(values)
    return list(dict.fromkeys(map(plain, values)))


def checklist(groups: Sequence[Group], primary: Metric) -> list[tuple[str, str]]:
    """The questions that conferences ask, answered from the records."""
    runs = [run for group in groups for arm in group.arms for run in arm.finished]
    every = [run for group in groups for arm in group.arms for run in arm.runs]
    seeds = sorted({run.seed for run in runs})
    hours = sum(run.seconds.total or run.seconds.train for run in every) / 3600
    dirty = sum(run.dirty for run in runs)
    commits = sorted({run.commit for run in runs if run.commit})
    code = listed([commit[:12] for commit in commits], 4) or UNKNOWN
    if dirty:
        code += f"; {dirty} of {len(runs)} runs with uncommitted changes"
    return [
        ("Code (commit)", code),
        ("Data, by content (SHA-256 of each split)", _data(runs)),
        ("Seeds", f"{listed([*map(str, seeds)], 12)}; {len(runs)} finished runs"),
        ("Runs that are in no mean", str(len(every) - len(runs))),
        ("Deciding metric", primary.name),
        ("What error bars are", "SD over seeds; intervals are 95 %, of differences of means"),
        ("How settings were chosen", _chosen(groups)),
        ("Hardware", hardware(groups)),
        ("Compute", f"{fixed(hours)} hours over all {len(every)} runs, one machine each"),
        ("Energy", UNKNOWN),
        ("Software", ", ".join(f"{name} {version}" for name, version in versions(groups))),
        ("Arithmetic", listed(sorted({run.precision or UNKNOWN for run in runs}))),
    ]


def _data(runs: Sequence[Run]) -> str:
    found: dict[str, None] = {}
    for run in runs:
        for name in ("train", "val", "test"):
            split = run.split(name)
            if split is not None:
                found[f"{name}: {split.images:,} images, {split.hash[:16]}"] = None
    return listed(list(found), 9) or UNKNOWN


def _chosen(groups: Sequence[Group]) -> str:
    knobs = sorted({key for group in groups for key in group.asked.nuisance})
    if not knobs:
        return "no setting was chosen by a result: arms differ in the loss as listed"
    return f"{listed(knobs)} on val, for each arm alike; test was looked at once"


def model_card(group: Group, arm: Arm, primary: Metric) -> list[tuple[str, str]]:
    """The card of a group's best arm (Mitchell et al. 2019, arXiv:1810.03993)."""
    run = arm.finished[0]
    test = run.split("test")
    score = arm.summary(primary.key)
    spread = "" if score.sd is None else f" ± {fixed(score.sd)}"
    seeds = "one seed" if score.seeds == 1 else f"{score.seeds} seeds"
    labels = group.classes if primary.per_class else ()
    means = [(arm.class_summary(label, primary.per_class).mean, label) for label in labels]
    known = sorted((mean, label) for mean, label in means if mean is not None)
    weak = [f"{label} ({fixed(mean)})" for mean, label in known[:3]]
    return [
        ("Model", f"{group.title}, {arm.short}"),
        ("Task", f"object detection, {len(run.classes)} classes: {listed(run.classes, 12)}"),
        ("Loss", _loss(run.config)),
        ("Training", f"{run.iterations:,} iterations; {_data([run])}"),
        (
            "Measured on",
            f"{test.images:,} images, {test.objects:,} objects" if test else UNKNOWN,
        ),
        ("Result", f"{fixed(score.mean)}{spread} {primary.name} over {seeds}"),
        ("Weakest classes", listed(weak) or UNKNOWN),
        ("Intended use", "comparing losses on this data; not checked for any other use"),
        ("Limits", "measured on images of one source alone; other sources may be harder"),
    ]


def _loss(config: Mapping[str, Any]) -> str:
    flat = comparable([config])[0]
    parts = [f"{key}={plain(value)}" for key, value in flat.items() if key.startswith(LOSS)]
    return ", ".join(parts) or UNKNOWN
