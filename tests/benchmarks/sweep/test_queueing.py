"""Sweeps over whole episodes: the same for all, with bounds in hindsight."""

import json

import numpy as np

import lambo_env
from benchmarks import cli
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import evaluation_rng

SWEEP = """
agents = ["local-if-fits", "local", "greedy"]
scenarios = [{ name = "small", base = "queue", num_ues = 8, num_slots = 12, server_cpu_hz = [4e9] }]
prompts = ["minimum latency", "minimum energy"]
instances = 3
"""


def test_a_sweep_plays_episodes_beside_their_bounds(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "small.toml").write_text(SWEEP)
    out = tmp_path / "out"
    options = ["--out", str(out), "--jobs", "1", "--no-figures"]
    assert cli.main(["bench", str(tmp_path / "small.toml"), *options]) == 0
    text = capsys.readouterr().out
    assert "greedy on small: no result: it decides instances of 'offloading'" in text
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    scenario = lambo_env.load_scenario("queue").replace(
        num_ues=8, num_slots=12, server_cpu_hz=(4e9,)
    )
    for row in rows:
        played = lambo_env.play(
            scenario, make_agent(row["name"]), row["prompt"], 3, evaluation_rng(0, scenario, 0)
        )
        np.testing.assert_allclose(row["cost"], played.episode_cost)
        assert all(0 < low <= cost for low, cost in zip(row["bound"], row["cost"], strict=True))
        assert not any(row["proven"]) and row["single_ms"] > 0
    assert cli.main(["bench", str(tmp_path / "small.toml"), *options]) == 0
    assert "0 cells played, 4 kept" in capsys.readouterr().out


def test_one_agent_is_evaluated_on_episodes(capsys):
    options = ["--scenario", "tang-wong", "--instances", "1", "--no-bound"]
    assert cli.main(["evaluate", "shortest-finish", *options]) == 0
    assert "shortest-finish on tang-wong" in capsys.readouterr().out
