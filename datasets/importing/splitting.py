"""Groups of images to splits: classes in proportion, groups whole, the same for the same seed.

Iterative stratification (Sechidis, Tsoumakas & Vlahavas 2011, "On the stratification of multi-label
data"): the class that fewest images still have goes first, to the split that lacks most of it.
Shapes: I images, G groups, K classes, S splits.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def split_groups(
    classes_IK: NDArray[np.bool_], group_I: Ints, shares: Sequence[float], seed: int
) -> Ints:
    """The split of each image, [I], 0 to S - 1.

    `classes_IK`: which classes an image holds; `group_I`: images of one number stay together;
    `shares`: the part of each split, the first also takes what is over. Every split but the first
    gets an image of each class that at least S groups have, and one image at all where there are S
    groups.
    """
    _, group_I = np.unique(group_I, return_inverse=True)
    groups = int(group_I.max(initial=-1)) + 1
    size_G = np.bincount(group_I, minlength=groups).astype(np.float64)
    has_GK = np.zeros((groups, classes_IK.shape[1]))
    np.add.at(has_GK, group_I, classes_IK)
    # One more column for images as such: it parts those without objects, and evens out the rest.
    count_GL = np.column_stack([has_GK, size_G])
    wanted_SL = _wanted(count_GL, np.asarray(shares, np.float64))
    asked_S = np.asarray(shares) > 0
    order_G = np.random.default_rng(seed).permutation(groups)
    split_G = np.full(groups, -1)
    open_G = np.ones(groups, np.bool_)
    while open_G.any():
        left_L = (count_GL[open_G] > 0).sum(0)
        label = int(np.argmin(np.where(left_L > 0, left_L, groups + 1)))
        # The largest groups first: small ones can mend what they leave uneven.
        mine = order_G[open_G[order_G] & (count_GL[order_G, label] > 0)]
        mine = mine[np.argsort(-size_G[mine], kind="stable")]
        holders_G = (count_GL[:, label] > 0) & ~open_G
        held_S = np.bincount(split_G[holders_G], minlength=len(shares)) > 0
        for done, group in enumerate(mine.tolist()):
            empty_S = ~held_S & asked_S
            last = len(mine) - done <= empty_S.sum()  # or one of them would see none
            chosen = _neediest(wanted_SL, label, empty_S if last else asked_S)
            held_S[chosen] = True
            split_G[group], open_G[group] = chosen, False
            wanted_SL[chosen] -= count_GL[group]
    result: Ints = split_G[group_I]
    return result


def _wanted(count_GL: NDArray[np.float64], share_S: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many images of each label each split should have."""
    wanted_SL = share_S[:, None] * count_GL.sum(0)
    enough_L = (count_GL > 0).sum(0) >= len(share_S)
    asked_S = share_S > 0
    asked_S[0] = False
    floor_SL = np.outer(asked_S, enough_L).astype(np.float64)
    missing_SL = np.maximum(floor_SL - wanted_SL, 0)
    wanted_SL[0] -= missing_SL.sum(0)
    filled: NDArray[np.float64] = wanted_SL + missing_SL
    return filled


def _neediest(wanted_SL: NDArray[np.float64], label: int, allowed_S: NDArray[np.bool_]) -> int:
    """The split that lacks most of `label`; of equals the one that lacks most images."""
    need_S = np.where(allowed_S, wanted_SL[:, label], -np.inf)
    best = np.flatnonzero(need_S >= need_S.max() - 1e-9)
    return int(best[np.argmax(wanted_SL[best, -1])])
