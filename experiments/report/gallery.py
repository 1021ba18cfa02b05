"""A report that can be committed: its records lie inside it, or in a folder of their own that is
committed too, small (`kept.py`), so that it verifies anywhere.

Where whole records are committed already, it may be made in place.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.record.files import write_text
from experiments.report import write_report
from experiments.report.kept import keep_records
from experiments.report.load import find_folders
from experiments.report.render import MANIFEST

RECORDS = "records"
HEAD = """\
<!-- Made by: python -m experiments report {sources} --gallery {folder}{how} -->
Whole page: [report.html](report.html) (download it, it opens from disk). To check it, from the
checkout: `python -m experiments verify {folder}`.

"""


def make_gallery(
    directories: Sequence[Path],
    folder: Path,
    *,
    in_place: bool = False,
    records: Path | None = None,
    told: list[str] | None = None,
    **options: Any,
) -> Path:
    """Keep what the report of `directories` is made of in `records` (default: inside `folder`), and
    make it from there, or `in_place` from the records where they are.

    `told` is given what was left out of the records; `options` are those of `write_report`.
    README.md is report.md with how it was made. Gives the page's path. Raises ReportError: no
    record, or a folder for records that no gallery made.
    """
    kept, how = records or folder / RECORDS, f" --records {records}" if records else ""
    if in_place:
        find_folders(directories)  # names a folder that is missing or holds no record
        sources, how = list(directories), " --in-place"
    else:
        words = keep_records(directories, kept, ours=records is None and _is_ours(folder))
        sources = [kept]
        if told is not None:
            told += words
    page = write_report(sources, folder, **options)
    named = " ".join(map(str, directories))
    head = HEAD.format(sources=named, folder=folder, how=how)
    write_text(folder / "README.md", head + (folder / "report.md").read_text(encoding="utf-8"))
    return page


def _is_ours(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()
