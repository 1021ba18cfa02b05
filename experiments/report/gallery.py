"""A report that can be committed: its records and dumps lie inside it, so it verifies anywhere.

Where they are committed already, it may be made in place: it then verifies inside the checkout.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.evaluation.anatomy import ANATOMY_FILE
from experiments.record.files import whole_file, write_text
from experiments.record.record import RECORD_FILE, find_records
from experiments.report import ReportError, write_report
from experiments.report.load import find_folders, load_run
from experiments.report.render import MANIFEST

RECORDS = "records"
HEAD = """\
<!-- Made by: python -m experiments report {sources} --gallery {folder}{in_place} -->
Whole page: [report.html](report.html) (download it, it opens from disk). To check it, from the
checkout: `python -m experiments verify {folder}`.

"""


def make_gallery(
    directories: Sequence[Path], folder: Path, *, in_place: bool = False, **options: Any
) -> Path:
    """Copy what the report of `directories` is made of into `folder`, and make it from the copies,
    or `in_place` from the records where they are.

    `options` are those of `write_report`. README.md is report.md with how it was made. Gives the
    page's path. Raises ReportError: no record, or `folder` holds records that no gallery wrote.
    """
    kept = folder / RECORDS
    if kept.exists():
        if not (folder / MANIFEST).is_file():
            raise ReportError(f"{kept}: is in the way, and no gallery made it")
        shutil.rmtree(kept)
    find_folders(directories)  # names a folder that is missing or holds no record
    if not in_place:
        _copy_all(directories, kept)
    page = write_report(directories if in_place else [kept], folder, **options)
    head = HEAD.format(
        sources=" ".join(map(str, directories)),
        folder=folder,
        in_place=" --in-place" if in_place else "",
    )
    write_text(folder / "README.md", head + (folder / "report.md").read_text(encoding="utf-8"))
    return page


def _copy_all(directories: Sequence[Path], kept: Path) -> None:
    for directory in directories:
        below = kept / directory.resolve().name if len(directories) > 1 else kept
        for run in find_records(directory):
            place = run.relative_to(directory)
            _copy(run, below / (place if place.parts else run.resolve().name))


def _copy(run: Path, target: Path) -> None:
    """The record and the files that it and the report name, all of them right in its folder."""
    names = [RECORD_FILE, *(entry.path for entry in load_run(run).files.values()), ANATOMY_FILE]
    for name in names:
        if Path(name).name == name and (run / name).is_file():
            with whole_file(target / name) as temporary:
                shutil.copyfile(run / name, temporary)
