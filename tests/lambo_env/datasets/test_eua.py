"""Melbourne's sites and users: projection, cells cut out of the plan, files that are not right."""

import gymnasium as gym
import numpy as np
import pytest
from data_files import shared_data

import lambo_env
from lambo_env.datasets import EuaSource, load_eua

SITES = "SITE_ID,LATITUDE,LONGITUDE,NAME\n" + "\n".join(
    f"{k},-37.8{k},144.9{k},Somewhere" for k in range(6)
)
USERS = "Latitude,Longitude\n" + "\n".join(f"-37.8{k}5,144.9{k}5" for k in range(9))


@pytest.fixture
def files(tmp_path):
    sites, users = tmp_path / "sites.csv", tmp_path / "users.csv"
    sites.write_text(SITES)
    users.write_text("\ufeff" + USERS)  # with a byte order mark
    return sites, users


def great_circle_m(a, b):
    """The haversine formula, on a sphere of the mean radius."""
    (lat, lon), (lat2, lon2) = np.radians(a), np.radians(b)
    h = np.sin((lat2 - lat) / 2) ** 2 + np.cos(lat) * np.cos(lat2) * np.sin((lon2 - lon) / 2) ** 2
    return 2 * 6_371_008.8 * np.arcsin(np.sqrt(h))


def test_distances_are_those_on_the_earth(files):
    plan = load_eua(*files)
    assert plan.server_xy.shape == (6, 2) and plan.ue_xy.shape == (9, 2)
    assert min(plan.server_xy.min(), plan.ue_xy.min()) == 0
    assert max(plan.server_xy.max(), plan.ue_xy.max()) == plan.side_m
    got = np.hypot(*(plan.server_xy[1] - plan.server_xy[4]))
    want = great_circle_m((-37.81, 144.91), (-37.84, 144.94))
    assert got == pytest.approx(want, rel=1e-3)
    assert plan.server_xy[5, 1] == plan.server_xy[:, 1].min()  # the southernmost


def test_cells_are_the_nearest_users_and_sites(files):
    scenario = lambo_env.load_scenario("nr-umi").replace(num_ues=3, server_cpu_hz=(1e10, 2e10))
    source = EuaSource(*files, scenario)
    env = gym.make("LAMBO-MEC-v0", scenario=source, num_slots=2)
    env.reset(seed=0)
    for _ in range(6):
        *_, over, _, _info = env.step(env.action_space.sample())
    assert over
    one = source.sample(4, np.random.default_rng(0))
    again = source.sample(4, np.random.default_rng(0))
    assert one.hash() == again.hash() and one.uplink_bps.shape == (4, 3, 2)


def test_the_files_themselves():
    plan = load_eua(
        shared_data("eua-site-optus-melbCBD.csv"), shared_data("eua-users-melbcbd-generated.csv")
    )
    assert len(plan.server_xy) == 125 and len(plan.ue_xy) == 816
    assert 1500 < plan.side_m < 2500  # Melbourne's centre


@pytest.mark.parametrize(
    ("sites", "users", "text"),
    [
        (None, USERS, "existing file of EUA's sites"),
        ("", USERS, "columns of EUA's sites"),
        (USERS, USERS, "LATITUDE, LONGITUDE"),
        (SITES, "Latitude,Longitude\n", "rows of EUA's users is 0"),
        (SITES, USERS + "\n91,0", "EUA's users, Latitude.* is 91.0; allowed: degrees"),
        (SITES, USERS + "\nnan,0", "line 11, Latitude is 'nan'"),
        (SITES, USERS + "\n1", "line 11, Longitude is None"),
        (SITES, USERS + "\nx,2", "line 11, Latitude is 'x'; allowed: a number"),
    ],
)
def test_files_that_are_not_right(tmp_path, sites, users, text):
    paths = tmp_path / "sites.csv", tmp_path / "users.csv"
    for path, content in zip(paths, (sites, users), strict=True):
        if content is not None:
            path.write_text(content)
    with pytest.raises(ValueError, match=text):
        load_eua(*paths)


def test_more_ues_than_users(files):
    with pytest.raises(ValueError, match="scenario.num_ues is 50; allowed: at most the plan's 9"):
        EuaSource(*files)
