"""What a comparison allows one to say, in a sentence or two. Values are percentages."""

from experiments.evaluation.bootstrap import PairedDifference
from experiments.evaluation.significance import ArmDifference

ALPHA = 0.05
SEEDS_ADVISED = 3  # an arm: the least with which a spread means anything


def arms_verdict(
    result: ArmDifference, a: str = "A", b: str = "B", *, p_value: float | None = None
) -> str:
    """Words for two arms; `p_value` replaces the t-test's where it was adjusted (Holm).

    One seed in an arm never makes a winner, whatever the difference.
    """
    least = min(result.a.seeds, result.b.seeds)
    if result.t_interval is None or result.t_p_value is None:
        return (
            f"No verdict: {b} is {result.difference:+.2f} from {a}, but {_seeds(least)} an arm "
            f"can't tell a method from the luck of its seed; run {SEEDS_ADVISED} or more of each."
        )
    p_value = result.t_p_value if p_value is None else p_value
    low, high = result.t_interval.low, result.t_interval.high
    told = (
        f"{result.difference:+.2f} [{low:+.2f}, {high:+.2f}], p = {p_value_text(p_value)}, "
        f"{result.a.seeds} and {result.b.seeds} seeds"
    )
    if p_value < ALPHA:
        return f"{b} is {'better' if result.difference > 0 else 'worse'} than {a}: {told}."
    return f"No difference shown between {a} and {b}: {told}.{_advice(result, least)}"


def runs_verdict(result: PairedDifference, a: str = "A", b: str = "B") -> str:
    """Words for two single runs: about these weights and images like these, not about methods."""
    shift, low, high = (100 * x for x in (result.difference, result.low, result.high))
    told = (
        f"{shift:+.2f} mAP [{low:+.2f}, {high:+.2f}], p = {p_value_text(result.p_value)}, "
        f"{result.images} images"
    )
    caution = "One run each says nothing of the methods: other seeds give other weights."
    if result.p_value < ALPHA:
        word = "better" if shift > 0 else "worse"
        return f"These weights of {b} are {word} on images like these: {told}. {caution}"
    return f"These two sets of weights can't be told apart on these images: {told}. {caution}"


def p_value_text(p_value: float) -> str:
    """Two significant digits, and no more zeros than it has earned."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2g}"


def _advice(result: ArmDifference, least: int) -> str:
    needed = result.seeds_needed
    if needed is None:
        return " A difference this small would take more than 1,000 seeds an arm to see."
    more = max(0, needed - least)
    if more == 0:
        return ""
    return f" If it is real, about {_seeds(more)} more an arm would show it (power 80 %)."


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"
