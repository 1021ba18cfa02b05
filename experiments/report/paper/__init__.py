"""A report's numbers as a paper has them: tables, figures at column width, an appendix, a checklist
and a model card, all TeX that `main.tex` puts together.

RULE of this room: words and layout alone; every number is asked from `tables`, `identity` and the
records.
"""

from experiments.report.paper.write import write_paper

__all__ = ["write_paper"]
