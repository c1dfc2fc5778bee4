"""``lambo read``: what texts are understood as."""

from __future__ import annotations


def read(*texts: str, weights: str = "lambo-s", test: str | None = None) -> None:
    """Print what texts ask for, by the environments' rules and by LAMBO's network.

    Args:
        texts: The texts.
        weights: Shipped weights of LAMBO, or a file.
        test: JSON lines of texts with what they mean, which are read too; prints how well.
    """
    from benchmarks.report.console import print_table
    from benchmarks.studies.reading_accuracy import READERS, load, readings, score
    from lambo_env.prompts.prompts import Prompts
    from lambo_env.utils import validate

    validate.check("TEXTS", texts, bool(texts) or test is not None, "texts, or --test FILE")
    given = [] if test is None else load(test)
    if texts:
        checked = Prompts(texts, 0.5).texts
        found = readings(checked, weights)
        rows = [
            (text, *(f"{found[by][0][k]:.2f} ({found[by][1][k]:.2f})" for by in READERS))
            for k, text in enumerate(checked)
        ]
        print_table(("text", *READERS), rows, "latency weight (confidence)")
    if given:
        found = readings(Prompts([row["text"] for row in given], 0.5).texts, weights)
        header = ("by", "read right, %", "opposite", "otherwise wrong", "refused",
                  "no objective: refused")  # fmt: skip
        lines = [(by, *(f"{value:.1f}" for value in score(given, *found[by]))) for by in READERS]
        asked = sum(row["latency_weight"] is not None for row in given)
        print_table(header, lines, f"{test}: {asked} texts, {len(given) - asked} without objective")
