"""Instances: shapes, values, slices, files.

Each bad one is refused with the field, the value and what is allowed.
"""

import dataclasses

import numpy as np
import pytest

from lambo_env.cell.places import over_places
from lambo_env.datasets import load_are
from lambo_env.offloading.instances import (
    Decision,
    Instances,
    at_place,
    at_server,
    one_hot_servers,
    server_of,
    set_at,
)
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances

FIELDS = [field.name for field in dataclasses.fields(Instances)]


@pytest.fixture
def batch():
    return sample_instances(load_scenario("tiny"), 5, np.random.default_rng(0))


def equal(one, two):
    return all((getattr(one, name) == getattr(two, name)).all() for name in FIELDS)


def test_places_and_servers():
    local, remote = np.array([[10.0, 20.0]]), np.array([[[11.0, 12.0], [21.0, 22.0]]])
    values = over_places(local, remote, np)
    place = np.array([[2, 0]])
    np.testing.assert_array_equal(at_place(values, place, np), [[12.0, 20.0]])
    np.testing.assert_array_equal(at_server(remote, place, np), [[12.0, 21.0]])
    np.testing.assert_array_equal(one_hot_servers(place, 2, np), [[[False, True], [False, False]]])


def test_set_at_copies():
    before = np.zeros((2, 2))
    after = set_at(before, (np.array([0]), np.array([1])), np.array([3.0]))
    assert before.sum() == 0
    assert after[0, 1] == 3.0


def test_take_repeat_concat_order(batch):
    assert equal(batch.take([1, 3]), Instances.concat([batch.take(1), batch.take(3)]))
    assert equal(batch.repeat(2).take(slice(0, 10, 2)), batch)
    assert len(batch.repeat(3)) == 15
    order = np.argsort(np.random.default_rng(0).random((5, 6)), axis=1)
    back = batch.order(order).order(np.argsort(order, axis=1))
    assert equal(back, batch)
    assert (batch.order(order).uplink_bps[0, 0] == batch.uplink_bps[0, order[0, 0]]).all()


def test_files(batch, tmp_path):
    path = tmp_path / "block.npz"
    batch.save(path)
    assert equal(Instances.load(path), batch)
    assert [file.name for file in tmp_path.iterdir()] == ["block.npz"]
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(
        ValueError,
        match=r"Instances.load\(path\) is .*block.npz'; allowed: a whole .npz of Instances",
    ):
        Instances.load(path)
    np.savez(path, other=1)
    with pytest.raises(ValueError, match="allowed: a whole .npz of Instances"):
        Instances.load(path)
    with pytest.raises(ValueError, match="allowed: an existing .npz file"):
        Instances.load(tmp_path / "none.npz")


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, "text", None])
def test_a_bad_value_names_its_field(batch, name, bad):
    value = getattr(batch, name).copy()
    if isinstance(bad, float):
        value[(0,) * value.ndim] = bad
    else:
        value = bad
    with pytest.raises(
        ValueError, match=rf"Instances\.{name}(\[0(, 0)*\]|\.shape)? is .*; allowed: "
    ):
        batch.replace(**{name: value})


@pytest.mark.parametrize("name", FIELDS)
def test_a_wrong_shape_names_its_field_and_the_right_shape(batch, name):
    with pytest.raises(ValueError, match=r"Instances\.\w+\.shape is .*; allowed: "):
        batch.replace(**{name: getattr(batch, name)[..., None, :]})


def test_unknown_field_and_row(batch):
    with pytest.raises(
        ValueError, match=r"Instances.cycle: unknown field; did you mean 'cycles'\?"
    ):
        batch.replace(cycle=1)
    with pytest.raises(ValueError, match=r"rows\) is 5; allowed: a row of 0..4"):
        batch.take(5)
    with pytest.raises(ValueError, match="allowed: an integer >= 1"):
        batch.repeat(0)
    with pytest.raises(ValueError, match="batches of one"):
        Instances.concat(
            [batch, sample_instances(load_scenario("paper"), 1, np.random.default_rng(0))]
        )
    with pytest.raises(ValueError, match="at least one batch"):
        Instances.concat([])


@pytest.mark.parametrize(
    "content", [None, b"", b"not a matlab file", b"MATLAB 5.0 MAT-file" + bytes(200)]
)
def test_load_are_refuses_anything_else(content, tmp_path):
    path = tmp_path / "are.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"are\.mat.*; allowed: "):
        load_are(path)


def test_load_are_refuses_foreign_variables(tmp_path):
    from scipy.io import savemat

    path = tmp_path / "are.mat"
    savemat(
        path,
        {
            "h": np.ones((8, 3)),
            "para": {"Dcom": [1.0, 1.0], "Fcom": [1.0, 1.0]},
            "Ytrain": np.ones((6, 2)),
        },
    )
    with pytest.raises(ValueError, match="allowed: the layout of ARE"):
        load_are(path)
    savemat(path, {"h": np.ones((8, 3))})
    with pytest.raises(ValueError, match="allowed: ARE's data set: h, para, Ytrain"):
        load_are(path)


def test_the_content_hash_is_the_one_that_caches_and_labels_were_filed_under():
    instances = sample_instances(load_scenario("tiny"), 2, np.random.default_rng(0))
    assert instances.hash("minimum latency").startswith("237f35522e4e2f9b5540c440")
    assert instances.take(0).hash() != instances.take(1).hash()


def test_shares_are_of_the_servers_totals():
    instances = sample_instances(load_scenario("tiny"), 2, np.random.default_rng(0))
    place = np.array([[0, 1, 2, 3, 4, 4], [4, 3, 2, 1, 0, 0]])
    capacity = instances.capacity_hz(place)
    totals = np.where(place > 0, instances.server_cpu_hz[0, np.maximum(server_of(place), 0)], 1.0)
    np.testing.assert_array_equal(capacity, totals)
    decision = Decision(place, np.where(place > 0, 0.25 * capacity, 0.0))
    np.testing.assert_array_equal(decision.shares(instances), 0.25 * (place > 0))
