"""Records -> a report for people: html, md, csv, tex and svg. RULE of this room: no torch, no
network, no run is changed.

`load` reads records, `arms` groups them, `statistics` and `tables` make the numbers, `verdict`
the words, `figures/` and `pictures` what is looked at, `published` other people's numbers, `page`
and `render` the files. From outside only the record, plain files and experiments.evaluation, which
are as free of torch.
"""

from experiments.report.load import ReportError
from experiments.report.render import write_report

__all__ = ["ReportError", "write_report"]
