"""The registry of worlds and ids: rows that break alone, rows refused, one name for every world."""

import gymnasium as gym
import numpy as np
import pytest

import lambo_env
from lambo_env import registration
from lambo_env.offloading import physics
from lambo_env.wpmec import physics as wpmec
from lambo_env.wpmec.instances import generate


@pytest.fixture(autouse=True)
def _own_tables():
    """Leave the registry as it was."""
    tables = (registration.WORLDS, registration.ENVIRONMENTS, gym.registry)
    before = [set(table) for table in tables]
    yield
    for table, names in zip(tables, before, strict=True):
        for name in set(table) - names:
            del table[name]


def test_every_row_can_be_loaded_and_gymnasium_knows_it():
    assert [row.id for row in registration.ENVIRONMENTS.values() if row.error] == []
    assert lambo_env.list_envs() == [name for name in gym.registry if name.startswith("LAMBO-")]


def test_a_world_and_an_id_that_fail_to_import_are_listed_with_their_error():
    lambo_env.register_world("absent", instances="no_such_module:Instances")
    lambo_env.register_env("Absent-v0", "absent", "lambo_env.envs.arguments:JointArguments")
    lambo_env.register_env("Broken-v0", "offloading", "no_such_module:Env")
    assert lambo_env.list_envs()[-2:] == ["Absent-v0", "Broken-v0"]
    for name in ("Absent-v0", "Broken-v0"):
        assert "No module named 'no_such_module'" in registration.ENVIRONMENTS[name].error
    assert registration.ENVIRONMENTS["LAMBO-MEC-v0"].error is None
    with pytest.raises(ImportError, match=r"no_such_module:Instances cannot be imported"):
        registration.WORLDS["absent"].get("instances")
    scenario = lambo_env.load_scenario("tiny")
    assert lambo_env.sample_instances(scenario, 2, np.random.default_rng(0)).batch_size == 2


def test_a_duplicate_row_is_refused_and_named_and_the_same_again_changes_nothing():
    lambo_env.register_env("Twice-v0", "offloading", "a:B")
    lambo_env.register_env("Twice-v0", "offloading", "a:B")
    with pytest.raises(ValueError, match="environment 'Twice-v0' is registered already"):
        lambo_env.register_env("Twice-v0", "offloading", "a:B", summary="another")
    with pytest.raises(ValueError, match="'LAMBO-MEC-v0' is registered already"):
        lambo_env.register_env("LAMBO-MEC-v0", "wpmec", "a:B")
    with pytest.raises(ValueError, match="environment 'CartPole-v1' is registered already"):
        lambo_env.register_env("CartPole-v1", "wpmec", "a:B")
    with pytest.raises(ValueError, match="world 'wpmec' is registered already"):
        lambo_env.register_world("wpmec", instances="a:B")


def test_what_nobody_asks_for_is_refused():
    with pytest.raises(ValueError, match="evalute: unknown field; did you mean 'evaluate'"):
        lambo_env.register_world("toy", evalute="a:b")
    with pytest.raises(ValueError, match="unknown world 'tyo'"):
        lambo_env.register_env("Toy-v0", "tyo", "a:B")
    with pytest.raises(ValueError, match="unknown offer of world 'wpmec' 'local'"):
        registration.WORLDS["wpmec"].get("local")


def test_one_name_acts_by_the_world_of_what_it_gets(rng):
    instances = lambo_env.sample_instances(lambo_env.load_scenario("tiny"), 3, rng)
    place = rng.integers(0, 5, (3, 6))
    np.testing.assert_array_equal(
        lambo_env.allocate(instances, place), physics.allocate(instances, place)
    )
    np.testing.assert_array_equal(lambo_env.upload_s(instances), physics.upload_s(instances))
    frames, mode = generate(4, 3, rng), rng.random((3, 4)) < 0.5
    np.testing.assert_array_equal(
        lambo_env.allocate(frames, mode).rate_bps, wpmec.allocate(frames, mode).rate_bps
    )


def test_a_scenario_file_names_its_world(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('world = "offloading"\nnum_ues = 3\n')
    assert lambo_env.load_scenario(path) == lambo_env.Scenario(num_ues=3)
    assert lambo_env.load_scenario({"world": "offloading", "num_ues": 3}).num_ues == 3
    path.write_text('world = "flat"\n')
    with pytest.raises(ValueError, match="unknown world 'flat'"):
        lambo_env.load_scenario(str(path))
