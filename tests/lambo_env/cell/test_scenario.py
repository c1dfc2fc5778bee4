"""A scenario's content hash."""

import copy
import hashlib
import importlib
import pickle

import pytest


@pytest.mark.parametrize("world", ["offloading", "wpmec"])
def test_a_scenario_computes_its_hash_once_and_keeps_it_to_itself(world, monkeypatch):
    room = importlib.import_module(f"lambo_env.{world}.scenario")
    scenario = room.load_scenario("paper" if world == "offloading" else {})
    before, told = pickle.dumps(scenario), scenario.hash
    assert pickle.dumps(scenario) == before and pickle.loads(before) == scenario
    assert "hash" not in vars(copy.copy(scenario)) and scenario.replace() == scenario
    monkeypatch.setattr(hashlib, "sha256", None)
    assert scenario.hash == told
