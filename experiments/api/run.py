"""One run's record and what lies beside it, as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import UserError
from experiments.record.parts import NUMBERS

if TYPE_CHECKING:
    import pandas as pd

    from experiments.api.detector import Detector
    from experiments.report.load import Run as LoadedRun


class Run:
    """One run's folder. Metrics are percent (0..100), times seconds, boxes pixels."""

    def __init__(self, loaded: "LoadedRun") -> None:
        self._loaded = loaded

    def __repr__(self) -> str:
        score = self.metrics.get("voc07_map")
        told = self.status if score is None else f"{score:.1f} VOC07 mAP"
        return f"Run({self.id}: {self.arm}, seed {self.seed}, {told})"

    @property
    def folder(self) -> Path:
        """Where its record is."""
        return self._loaded.folder

    @property
    def id(self) -> str:
        """The folder's name when it ran."""
        return self._loaded.id

    @property
    def arm(self) -> str:
        """What is compared: the detector and its loss in words; runs of one arm differ in seed."""
        return self._loaded.arm

    @property
    def seed(self) -> int:
        """The seed of everything random in it."""
        return self._loaded.seed

    @property
    def status(self) -> str:
        """`finished`, `running`, `interrupted` or `failed`."""
        return self._loaded.status

    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration, every default visible; `train` takes it back."""
        return dict(self._loaded.config)

    @property
    def metrics(self) -> dict[str, float | None]:
        """Metrics of the measured split by key (`voc07_map`, `coco_ap` ..) in percent; empty where
        it was not measured, None where one is undefined.
        """
        found = self._loaded.metrics
        keys = () if found is None else (*NUMBERS, *found.more)
        return {key: self._loaded.metric(key) for key in keys}

    @cached_property
    def per_class(self) -> "pd.DataFrame":
        """One row a class, the index its name: average precisions in percent and counts."""
        import pandas as pd

        found = self._loaded.metrics
        rows = {} if found is None else {name: asdict(one) for name, one in found.per_class.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("class")

    @cached_property
    def curves(self) -> "pd.DataFrame":
        """One row an iteration, the index: loss and its terms, gamma, alpha, learning rate ..; of a
        run whose `curves.jsonl` is gone, the sample that its record keeps (at most 2,000 rows).
        """
        from experiments.record.curves import CURVES_FILE, read_curves
        from experiments.record.record import load_record

        path = self.folder / CURVES_FILE
        every_row = 2**62
        points = read_curves(path, every_row).points if path.is_file() else ()
        rows = points or load_record(self.folder).curves
        table = table_of(rows)
        return table.astype({"iteration": int}).set_index("iteration") if rows else table

    @cached_property
    def validations(self) -> "pd.DataFrame":
        """One row a validation during training, the index its iteration: metrics in percent."""
        rows = [
            {"iteration": one.iteration}
            | {key: one.metrics.value(key) for key in (*NUMBERS, *one.metrics.more)}
            for one in self._loaded.validations
        ]
        table = table_of(rows)
        return table.set_index("iteration") if rows else table

    @property
    def detections(self) -> "pd.DataFrame":
        """One row a detection on the measured split: image_id, label (its place among `classes`),
        class, score (0..1), x1, y1, x2, y2 (pixels of the original image, x2 and y2 exclusive).

        Of a compact record, those that it keeps; left_small, left_medium and left_large count the
        false ones of its class that stood right before each by score and are left out.
        """
        return self._named("detections")

    @property
    def truth(self) -> "pd.DataFrame":
        """One row an object of the measured split: image_id, label, class, x1, y1, x2, y2 (pixels),
        difficult, crowd, area (square pixels).
        """
        return self._named("truth")

    @property
    def images(self) -> "pd.DataFrame":
        """One row an image of the measured split: image_id, width, height (pixels), path."""
        return self._dump["images"]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label."""
        return self._loaded.classes

    def detector(self) -> "Detector":
        """Its trained detector."""
        from experiments.api.detector import load_detector

        return load_detector(self.folder)

    @cached_property
    def _dump(self) -> dict[str, "pd.DataFrame"]:
        from experiments.evaluation.dump import FILES, read_dump

        if any(self._loaded.file(kind) is None for kind in FILES):
            raise UserError(
                f"{self.folder}: its detections are not here ({', '.join(FILES.values())}): a"
                f" finished run has them; this one is {self.status}"
            )
        tables = read_dump(self.folder)
        return {kind: getattr(tables, kind) for kind in FILES}

    def _named(self, kind: str) -> "pd.DataFrame":
        """A table of the dump with the names of its labels."""
        table = self._dump[kind].copy()
        names = dict(enumerate(self.classes))
        table.insert(table.columns.get_loc("label") + 1, "class", table["label"].map(names))
        return table


def table_of(rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Rows as a table; None is NaN in columns of numbers."""
    import pandas as pd

    table = pd.DataFrame(list(rows))
    for name in table.columns:
        if all(each is None or isinstance(each, (int, float)) for each in table[name]):
            table[name] = pd.to_numeric(table[name])
    return table
