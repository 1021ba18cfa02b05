"""What of a run's curves its mirror is given."""

from pathlib import Path

from experiments.record.curves import MOST_POINTS, CurveWriter
from experiments.tracking.rows import rows_so_far


def test_a_long_run_is_mirrored_row_by_row(tmp_path: Path) -> None:
    last = MOST_POINTS + 500
    with CurveWriter(tmp_path) as writer:
        for iteration in range(1, last + 1):
            writer.point({"iteration": iteration, "loss": 1.0})
    assert [iteration for iteration, _ in rows_so_far(tmp_path)] == [*range(1, last + 1)]
