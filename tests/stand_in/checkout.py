"""A user's checkout: a folder of links to this one's rooms, so that what a user runs there writes
its `runs/` and `wandb/` in a place of the test's own.
"""

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
LINKED = ("losses", "datasets", "detectors", "experiments", "configs", "train.py")


def linked_checkout(folder: Path) -> Path:
    """Make `folder` such a checkout; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        (folder / name).symlink_to(CHECKOUT / name)
    return folder
