"""The card of weights: of the world where tasks wait, and what gets none."""

import hashlib
import json

import pytest

torch = pytest.importorskip("torch")

from benchmarks import cli
from benchmarks.studies import queue_card
from lambo_agents.network import checkpoint as aed_checkpoint
from lambo_agents.network.aed import AED
from lambo_agents.network.config import preset
from lambo_agents.queueing import checkpoint
from lambo_agents.queueing.network import QueueNet, QueueNetConfig
from lambo_agents.queueing.recipe import QueueRecipe
from lambo_agents.registry import make_agent


@pytest.fixture
def short(monkeypatch, tmp_path):
    path = tmp_path / "short.toml"
    path.write_text('world = "queueing"\nnum_slots = 5\nnum_ues = 10\n')
    monkeypatch.setattr(queue_card, "SCENARIOS", (str(path),))


def test_the_rule_costs_what_the_rule_costs(short):
    rows = list(queue_card.rows(make_agent("linear-rule"), 2))
    assert len(rows) == len(queue_card.PROMPTS)
    for row in rows:
        assert row["cost"] == row["linear-rule"] > 0
        assert row["above_percent"] == 0 and row["interval"] == [0, 0]
    others = list(queue_card.rows(make_agent("local"), 2))
    assert all(row["above_percent"] != 0 for row in others)


def test_the_command_ships_weights_with_their_card(short, tmp_path, capsys):
    net = QueueNet(QueueNetConfig(d_model=4, hidden=3))
    meta = {"recipe": QueueRecipe().to_dict(), "row": {"step": 3, "cpu_s": 1.0}}
    source = tmp_path / "weights.safetensors"
    checkpoint.save(source, net.state_dict(), net.config, **meta)
    told = ["card", str(source), "--name", "mine", "--out", str(tmp_path), "--instances", "2"]
    assert cli.main(told) == 0
    assert "linear-rule" in capsys.readouterr().out
    card = json.loads((tmp_path / "mine.json").read_text())
    shipped = tmp_path / "mine.safetensors"
    assert card["sha256"] == hashlib.sha256(shipped.read_bytes()).hexdigest()
    assert card["parameters"] == net.num_parameters and card["clock"]["step"] == 3
    assert len(card["measured"]["rows"]) == 3


@pytest.mark.parametrize(
    "asked", [("--name", "a/b"), ("--name", ""), ("--name", ".."), ("--instances", "1")]
)
def test_a_name_that_is_a_path_and_a_single_instance_are_refused(asked, tmp_path, capsys):
    source = tmp_path / "weights.safetensors"
    source.write_bytes(b"")
    assert cli.main(["card", str(source), "--out", str(tmp_path / "cards"), *asked]) == 2
    assert f"card.{asked[0][2:]} is" in capsys.readouterr().err
    assert not (tmp_path / "cards").exists()


@pytest.mark.parametrize("world", ["offloading", "queueing"])
def test_weights_that_do_not_say_how_they_were_trained_get_no_card(world, tmp_path, capsys):
    """Such as last.safetensors, whose weights are not those that were measured."""
    source, out = tmp_path / "last.safetensors", tmp_path / "cards"
    if world == "queueing":
        net = QueueNet(QueueNetConfig(d_model=4, hidden=3))
        checkpoint.save(source, net.state_dict(), net.config, recipe={})
    else:
        config = preset("lambo_xs").replace(d_model=8, pair_width=4, memory_width=2)
        aed_checkpoint.save(source, AED(config).state_dict(), config, recipe={})
    assert cli.main(["card", str(source), "--out", str(out), "--instances", "2"]) == 2
    assert "card.weights is " in (told := capsys.readouterr().err)
    assert "allowed: the weights.safetensors of a training" in told
    assert not out.exists()
