"""Scenario: presets, TOML round trip, hash, and a table of bad values for every field."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambo_env.offloading.scenario import Scenario, list_scenarios, load_scenario
from lambo_env.utils import validate
from lambo_env.utils.rules import ruled

HASHES = {
    "are2020": "3a00662f87e88723",
    "dense": "f83c42d6958c78bc",
    "hetero": "6f147989dccff73c",
    "metro": "eb8ff653e67fa372",
    "nr-indoor": "91bb4ed322d0253d",
    "nr-umi": "e608d9f3d4ef0763",
    "paper": "6b4df35477816657",
    "tiny": "00f16ad84b7b4445",
    "wide": "ab091b71fa5d0ef9",
}
COUNTS = ["num_ues"]
RANGES = [
    "data_bits",
    "cycles",
    "deadline_s",
    "local_cpu_hz",
    "local_power_w",
    "tx_power_w",
    "speed_mps",
]
LISTS = ["server_cpu_hz"]
NUMBERS = [
    *(
        "side_m",
        "bandwidth_hz",
        "carrier_hz",
        "path_loss_exponent",
        "min_distance_m",
        "decorrelation_m",
        "slot_s",
    ),
    *(
        "shadowing_db",
        "noise_figure_db",
        "late_penalty",
        "drift_m",
        "max_spectral_efficiency",
        "gauss_markov_memory",
    ),
]
ANY_SIGN = ["rician_k_db", "noise_dbm_per_hz"]
OTHERS = ["free_space_reference", "mobility"]
BAD = {
    **{name: [0, -1, 2.5, "6", math.nan, True, None] for name in COUNTS},
    **{
        name: [-1.0, math.nan, "1", [2.0, 1.0], [1.0], [1.0, 2.0, 3.0], [1.0, math.inf], None, True]
        for name in RANGES
    },
    **{name: [[], 1e10, [1e10, 0.0], [1e10, math.nan], "1e10", [True], None] for name in LISTS},
    **{name: [-1.0, math.nan, "1", None, True, [1.0]] for name in NUMBERS},
    **{name: [math.nan, -math.inf, "3", None, True] for name in ANY_SIGN},
    "free_space_reference": [0, 1, "true", None, 1.0],
    "mobility": ["teleport", "", None, 3, ["waypoint"]],
    "reachable_servers": [0, -1, 2.5, "6", math.nan, True],
    "channel": ["", "UMi", 3, None, ["umi"]],
    "server_xy": [
        "",
        3,
        [],
        [[1.0]],
        [[1.0, 2.0]],
        [[1, 2], [3, 4], [5, 6], [7, 50.1]],
        [[-1, 0]] * 4,
    ],
    "ue_xy": ["", 3, [], [[1.0]], [1.0, 2.0], [[0, 51.0]], [[0, 0]] * 51, [[float("nan"), 0]]],
}


def test_the_table_of_bad_values_covers_every_field():
    assert sorted(BAD) == sorted(Scenario.field_names())
    assert min(len(values) for values in BAD.values()) >= 5


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_bad_value_names_field_value_and_what_is_allowed(name, value):
    with pytest.raises(ValueError, match=rf"^Scenario\.{name}(\[\d\])* is .*; allowed: .+"):
        load_scenario("paper").replace(**{name: value})


def test_paper_is_the_default_and_holds_the_paper():
    paper = load_scenario("paper")
    assert paper == Scenario()
    assert (paper.num_ues, paper.num_servers, paper.side_m) == (50, 4, 50.0)
    assert paper.server_cpu_hz == (1.5e10, 1.5e10, 3e10, 5e10)
    assert paper.deadline_s == (1.5, 1.5)
    assert paper.noise_w == pytest.approx(10 ** ((-174 + 9) / 10) * 1e-3 * 20e6)
    assert paper.reference_gain == pytest.approx((299792458 / 2.4e9 / (4 * math.pi)) ** 2)


def test_are2020_has_the_authors_noise_and_no_reference_loss():
    are = load_scenario("are2020")
    assert are.noise_w == pytest.approx(1e-12)
    assert are.reference_gain == 1.0


@pytest.mark.parametrize("name", list_scenarios())
def test_presets_survive_toml(name, tmp_path):
    scenario = load_scenario(name)
    path = tmp_path / "mine.toml"
    path.write_text(scenario.to_toml())
    assert load_scenario(str(path)) == load_scenario(path) == scenario
    assert load_scenario(scenario.to_dict()).hash == scenario.hash
    assert load_scenario(scenario) is scenario


@given(
    st.integers(1, 500),
    st.lists(st.floats(1e3, 1e15), min_size=1, max_size=20),
    st.tuples(st.floats(1.0, 1e9), st.floats(0, 1e9)),
    st.floats(0, 10),
)
def test_any_valid_scenario_survives_toml(num_ues, capacities, data, penalty):
    import tomllib

    scenario = Scenario(
        num_ues=num_ues,
        server_cpu_hz=tuple(capacities),
        data_bits=(data[0], sum(data)),
        late_penalty=penalty,
    )
    assert Scenario.from_dict(tomllib.loads(scenario.to_toml())) == scenario


def test_hash_depends_on_the_numbers_alone():
    paper = load_scenario("paper")
    assert paper.hash == Scenario(deadline_s=1.5).hash
    hashes = {paper.hash} | {load_scenario(name).hash for name in list_scenarios()}
    assert len(hashes) == len(list_scenarios())
    assert paper.replace(deadline_s=1.6).hash not in hashes


def test_a_new_field_changes_no_hash_where_it_has_its_default():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Priced(Scenario):
        price: float = ruled(0.5, validate.non_negative)

    for name in list_scenarios():
        scenario = load_scenario(name)
        priced = Priced.from_dict(scenario.to_dict())
        assert priced.hash == scenario.hash
        assert priced.replace(price=0.25).hash != scenario.hash
        assert priced.replace(price=0.25).replace(price=0.5).hash == scenario.hash
    with pytest.raises(ValueError, match=r"^Priced\.price is -1; allowed"):
        Priced(price=-1)


def test_preset_hashes_stay():
    hashes = {name: load_scenario(name).hash for name in list_scenarios()}
    assert hashes == HASHES


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("papr", r"unknown scenario 'papr'; did you mean 'paper'\? known: are2020"),
        ("no/such.toml", r"scenario is 'no/such.toml'; allowed: an existing .toml file"),
        (3, r"scenario is 3; allowed: a preset's name"),
        (None, r"scenario is None; allowed"),
        ({"widht_m": 3}, r"Scenario.widht_m: unknown field"),
        ({"num_uess": 3}, r"did you mean 'num_ues'\?"),
    ],
)
def test_bad_sources(source, message):
    with pytest.raises(ValueError, match=message):
        load_scenario(source)


@pytest.mark.parametrize(
    "text", ["num_ues = ", "num_ues = 5\nnum_ues = 6", "[world]\nnum_ues = 5", "\x00", "num_ues: 5"]
)
def test_broken_toml_names_the_file(text, tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.toml|Scenario\.world: unknown field"):
        load_scenario(path)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_scenario("paper").num_ues = 3
