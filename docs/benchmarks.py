"""Writes docs/benchmarks.md from the filed results of benchmarks/.

python -m docs.benchmarks
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks/results"
PAGE = HERE / "benchmarks.md"
HEAD = """# Timings beside peers

Written by `python -m docs.benchmarks` from `benchmarks/results/`: each benchmark's newest file
of each kind of machine, by the instructions that networks use there (AMX, which computes bfloat16;
AVX2, which only emulates it) or by the card of a GPU.
`python -m benchmarks.NAME` files another; `pip install -r benchmarks/requirements.txt` brings the
peers. All contenders of a part ran in one process or in turns; *times faster* is the median over
rounds of the ratio within a round, so it may differ from the ratio of the medians. `load` is what
else ran just before.
"""
CLAIM = {True: "yes", False: "**no**", None: "not tried"}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for path in newest():
        what, machine, _ = path.stem.split("_")
        found.setdefault(what, {})[machine.upper()] = json.loads(path.read_text())
    return HEAD + "".join(section(what, results) for what, results in found.items())


def newest() -> list[Path]:
    """The latest result of each benchmark and machine; dates are the end of a name."""
    by_kind: dict[str, Path] = {}
    for path in sorted(RESULTS.glob("*.json")):
        by_kind[path.stem.rpartition("_")[0]] = path
    return list(by_kind.values())


def section(what: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """One benchmark, its machines beside each other: where it ran, what it claims, what it
    measured.
    """
    lines = [f"\n## {what}\n"]
    for machine, result in results.items():
        packages = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        parts = [f"{result['cores']} cores of {result['cpu']}", *result.get("gpus", ())]
        where = ", ".join([*parts, f"load {float(result['load_before']):.1f}"])
        lines.append(f"{machine}: {where}; {packages}.\n")
        if "note" in result:
            lines.append(f"{result['note'].capitalize()}.\n")
    lines += [f"| claim | {' | '.join(results)} |", "|---|" + "---|" * len(results)]
    for claim in dict.fromkeys(claim for result in results.values() for claim in result["claims"]):
        held = [CLAIM[result["claims"].get(claim)] for result in results.values()]
        lines.append(f"| {claim} | {' | '.join(held)} |")
    for machine, result in results.items():
        if len(results) > 1:
            lines.append(f"\n### {what}, {machine}")
        parts = result["parts"]
        for name, part in ({"": parts} if _is_table(parts) else parts).items():
            lines += ["", *measured(name, part)]
    return "\n".join(lines) + "\n"


def measured(name: str, part: Any) -> Iterator[str]:
    """A part as a table where it has contenders or rows of figures, and its other figures below."""
    tables = {key: rows for key, rows in _mappings(part) if _alike(rows.values())}
    if _is_table(part):
        tables, part = {"": part}, {}
    if name:
        yield f"**{name}**" if isinstance(part, Mapping) else f"**{name}**: {figure(part)}"
    for key, rows in tables.items():
        yield from ["", *table(rows, "" if key == "contenders" else key)]
    rest = [(key, value) for key, value in _flat(part) if key.partition(": ")[0] not in tables]
    if rest:
        yield ""
        yield ", ".join(f"{key} {figure(value)}" for key, value in rest)


def table(rows: Mapping[str, Mapping[str, Any]], corner: str) -> Iterator[str]:
    """Rows of named figures."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    yield f"| {corner} | " + " | ".join(column.replace("_", " ") for column in columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for name, row in rows.items():
        yield f"| {name} | " + " | ".join(figure(row.get(column)) for column in columns) + " |"


def figure(value: Any) -> str:
    """A number to three digits, a list as its numbers, a dash for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(figure(each) for each in value)
    return str(value)


def _is_table(part: Any) -> bool:
    return isinstance(part, Mapping) and len(part) > 1 and _alike(part.values())


def _alike(values: Iterable[Any]) -> bool:
    """Whether all are mappings of plain figures with a first key in common."""
    rows = list(values)
    return bool(rows) and all(
        isinstance(row, Mapping)
        and row
        and next(iter(row)) == next(iter(rows[0]))
        and not any(isinstance(value, Mapping) for value in row.values())
        for row in rows
    )


def _mappings(part: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in part.items() if isinstance(part, Mapping) else ():
        if isinstance(value, Mapping) and value:
            yield key, value


def _flat(part: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in part.items() if isinstance(part, Mapping) else ():
        name = f"{before}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        else:
            yield name, value


if __name__ == "__main__":
    main()
