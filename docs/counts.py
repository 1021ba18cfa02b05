"""Fills the tables of docs/data.md on VOC's classes from their committed counts.

python -m docs.counts                the tables from docs/records/voc_counts.csv

The counts come from the labels themselves:
python -m experiments data stats data/VOCdevkit 2007/test 2007/trainval 2012/trainval \\
    --csv docs/records/voc_counts.csv
"""

from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
COUNTS = HERE / "records" / "voc_counts.csv"
PAGE = HERE / "data.md"
BEGIN, END = "<!-- counts: begin -->\n", "<!-- counts: end -->\n"


def main() -> None:
    """Write the block."""
    text = PAGE.read_text()
    start, stop = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text(text[:start] + block() + text[stop:])


def block() -> str:
    """Objects and difficult ones of each class, and the images they are in, split by split."""
    counts = pd.read_csv(COUNTS, keep_default_na=False)
    splits = list(counts["split"].unique())
    lines = ["| class | " + " | ".join(splits) + " |", "|---|" + "---:|" * len(splits)]
    for name, rows in counts.groupby("class", sort=False):
        cells = [
            f"{row.objects:,} + {row.ignored:,} in {row.images:,}"
            for row in rows.itertuples(index=False)
        ]
        lines.append(f"| {name or '**all**'} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
