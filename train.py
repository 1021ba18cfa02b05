"""What a W&B sweep file may name as its `program:`; the same as `python -m experiments train`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[1:1] = ["train"]
    runpy.run_module("experiments", run_name="__main__", alter_sys=True)
