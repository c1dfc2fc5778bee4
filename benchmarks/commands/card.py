"""``lambo card WEIGHTS``: ship trained weights with a card of measured gaps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cyclopts import Parameter

from lambo_env.utils import validate


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class CardOptions:
    """What ``lambo card`` takes."""

    weights: str
    """best.safetensors of a training."""
    _: dataclasses.KW_ONLY
    name: str = "lambo-s"
    """Name that they ship under."""
    out: str = "lambo_agents/weights"
    """Folder that they ship in."""
    trained_by: str = "lambo train"
    """The command that trained them, for the card."""
    note: str = ""
    """Anything else that a reader of the card should know."""
    instances: int = 1000
    """Fresh instances to measure the gap on."""


def card(options: CardOptions) -> None:
    """Copy the weights, measure them, write the card and print its table."""
    from benchmarks.report.console import print_table
    from benchmarks.studies.model_card import write_card

    validate.check(
        "card.weights",
        options.weights,
        Path(options.weights).is_file(),
        "an existing .safetensors file",
    )
    count = validate.integer("card.instances", options.instances)
    made = write_card(
        Path(options.weights),
        options.name,
        options.trained_by,
        count,
        Path(options.out),
        options.note,
    )
    rows = [
        (
            row["prompt"],
            row["decoding"],
            f"{row['gap_percent']:.3f}",
            "[{:.3f}, {:.3f}]".format(*row["interval"]),
            str(row["late"]),
            f"{row['ms_per_instance']:.2f}",
        )
        for row in made["measured"]["rows"]
    ]
    print_table(
        ("prompt", "decoding", "gap %", "95 % interval", "late", "ms per instance"),
        rows,
        f"{options.name}, {count} instances",
    )
    print(
        f"held-out phrasings: {made['held_out']['points_more']}, worst {made['held_out']['worst']}"
    )
