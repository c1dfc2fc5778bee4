"""``lambo card WEIGHTS``: ship trained weights with a card of measured gaps."""

from __future__ import annotations

from pathlib import Path

from lambo_env.utils import files, validate


def card(
    weights: str,
    *,
    name: str = "lambo-s",
    out: str = "lambo_agents/weights",
    trained_by: str = "lambo train",
    note: str = "",
    instances: int = 1000,
    device: str = "cpu",
) -> None:
    """Copy the weights, measure them, write the card and print its table.

    Args:
        weights: weights.safetensors of a training.
        name: Name that they ship under.
        out: Folder that they ship in.
        trained_by: The command that trained them, for the card.
        note: Anything else that a reader of the card should know.
        instances: Fresh instances to measure the gap on; where tasks wait, whole episodes.
        device: Torch device that plays; a large network wants a GPU.
    """
    from benchmarks.report.console import print_table
    from benchmarks.studies.model_card import write_card
    from lambo_agents import weights_io
    from lambo_agents.queueing.checkpoint import FORMAT

    validate.check(
        "card.weights",
        weights,
        Path(weights).is_file(),
        "an existing .safetensors file",
    )
    validate.check("card.name", name, files.safe_name(name) == name, "letters, digits, _ and -")
    count = validate.integer("card.instances", instances, low=2)  # one has no interval
    if weights_io.form_of(weights) == FORMAT:
        validate.check("--device", device, device == "cpu", "cpu for this network")
        _queue_card(Path(weights), name, trained_by, count, Path(out), note)
        return
    made = write_card(
        Path(weights),
        name,
        trained_by,
        count,
        Path(out),
        note,
        device,
    )
    print_table(
        ("prompt", "decoding", "gap %", "95 % interval", "late", "ms per instance"),
        [
            (
                row["prompt"],
                row["decoding"],
                f"{row['gap_percent']:.3f}",
                "[{:.3f}, {:.3f}]".format(*row["interval"]),
                str(row["late"]),
                f"{row['ms_per_instance']:.2f}",
            )
            for row in made["measured"]["rows"]
        ],
        f"{name}, {count} instances",
    )
    print(
        f"held-out phrasings: {made['held_out']['points_more']}, worst {made['held_out']['worst']}"
    )


def _queue_card(
    weights: Path, name: str, trained_by: str, episodes: int, out: Path, note: str
) -> None:
    from benchmarks.report.console import print_table
    from benchmarks.studies.queue_card import RULE, write_card

    made = write_card(weights, name, trained_by, episodes, out, note)
    print_table(
        ("scenario", "prompt", "cost", RULE, "against it, %", "95 % interval", "late %", "CPU ms"),
        [
            (
                row["scenario"],
                row["prompt"],
                f"{row['cost']:.4f}",
                f"{row[RULE]:.4f}",
                f"{row['above_percent']:+.2f}",
                "[{:+.2f}, {:+.2f}]".format(*row["interval"]),
                f"{row['late_percent']:.1f}",
                f"{row['cpu_ms_per_slot']:.2f}",
            )
            for row in made["measured"]["rows"]
        ],
        f"{name}, {episodes} episodes each, differences paired; CPU ms per slot and episode",
    )
