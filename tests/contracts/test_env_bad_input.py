"""A stranger's mistakes, for every id, single and vector.

Each is named, and afterwards everything goes on as if it had not been made.
"""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import lambo_env  # noqa: F401 - registers the ids
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.testing.harness import random_action, same
from lambo_env.wpmec.instances import Frames

OFFLOADING = {
    "LAMBO-MEC-v0": {"scenario": "tiny"},
    "LAMBO-MEC-Association-v0": {"scenario": "tiny"},
    "LAMBO-MEC-Drift-v0": {"scenario": "tiny", "num_slots": 2},
}
QUEUE = "LAMBO-MEC-Queue-v0"
CELLS = {**OFFLOADING, QUEUE: {"scenario": {"num_ues": 3, "num_slots": 4}}}
SINGLE = {**CELLS, "LAMBO-WPMEC-v0": {"num_devices": 3, "num_frames": 5}}
VECTOR = [(env_id, mode) for env_id in CELLS for mode in ("NextStep", "SameStep", "Disabled")]
ROWS = 3

SEEDS = [(seed, "seed is") for seed in (-1, 1.5, "a", True, object(), {}, np.nan)]
OPTIONS = [
    (3, "options is 3"),
    ("prompt", "options is 'prompt'"),
    ([("prompt", "minimum energy")], "options is"),
    (
        {"promt": "minimum energy"},
        r"options.promt: unknown field; (did you mean 'prompt'\? )?known:",
    ),
    ({1: 2}, "options.1: unknown field; known:"),
]
PROMPTS = [
    ("make it so", "prompt is 'make it so'; allowed: a text that names an objective"),
    ("x" * 161, "prompt is 'xxx.*1 to 160"),
    ("能源", r"prompt is '能源'.*character 0 is"),
    ("", "prompt is ''"),
    ("  ", "prompt is '  '"),
    ("minimum\nenergy", "prompt is 'minimum.nenergy'"),
    (3, r'options\["prompt"\] is 3; allowed: a str'),
    (np.nan, r'options\["prompt"\] is nan'),
    (b"minimum energy", r'options\["prompt"\] is b'),
    ([], r'options\["prompt"\] is \[\]'),
    (["minimum energy"] * 2, r'options\["prompt"\] \(number of texts\) is 2; allowed: 1'),
    (["minimum energy", "minimum energy", 3], r"number of texts|\[2\] is 3; allowed: a str"),
    (["minimum energy", "minimum energy", "make it so"], "(make it so|number of texts)"),
    (
        Prompts.of("minimum energy", 2),
        r'options\["prompt"\] \(number of prompts\) is 2; allowed: (1|3)',
    ),
]
PAPER, TINY, WIDE = (
    sample_instances(load_scenario("tiny").replace(**sizes), ROWS + 1, np.random.default_rng(0))
    for sizes in ({"num_ues": 50}, {}, {"server_cpu_hz": [1e10] * 5})
)
WRONG_SIZE = (
    r'options\["instances"\] \(batch_size, num_ues, num_servers\) is \(%s\); allowed: \(\d, 6, 4\)'
)
INSTANCES = [
    (
        PAPER.take(slice(0, ROWS)),
        WRONG_SIZE % f"{ROWS}, 50, 4",
    ),  # of the batch's size, but too many UEs
    (PAPER.take(0), WRONG_SIZE % "1, 50, 4"),
    (TINY, WRONG_SIZE % f"{ROWS + 1}, 6, 4"),
    (TINY.take(slice(0, 2)), WRONG_SIZE % "2, 6, 4"),
    (WIDE.take(slice(0, ROWS)), WRONG_SIZE % f"{ROWS}, 6, 5"),
    (WIDE.take(0), WRONG_SIZE % "1, 6, 5"),
    (3, r'options\["instances"\] is .int.; allowed: an Instances'),
    ({"cycles": 1}, r'options\["instances"\] is .dict.'),
]
OFFLOADING_OPTIONS = [
    *OPTIONS,
    *(({"prompt": prompt}, text) for prompt, text in PROMPTS),
    *(({"instances": instances}, text) for instances, text in INSTANCES),
]
QUEUE_OPTIONS = [
    *OPTIONS,
    *(({"prompt": prompt}, text) for prompt, text in PROMPTS),
    ({"instances": TINY}, "options.instances: unknown field; known: prompt"),
]
WPMEC_OPTIONS = [
    *OPTIONS,
    ({"frames": 3}, "options.frames is 'int'; allowed: lambo_env.wpmec Frames"),
    ({"frames": [[1e-6] * 3]}, "options.frames is 'list'"),
    ({"frames": Frames([[1e-6] * 4])}, "options.frames.num_devices is 4; allowed: 3"),
]
ARGUMENTS = [
    *(
        ({"prompt": prompt}, "prompt is")
        for prompt in ("make it so", "x" * 161, "能源", "", 3, np.nan, [], b"energy")
    ),
    *(({"num_slots": count}, "num_slots is") for count in (0, -1, 1.5, True, np.nan, "2", None)),
    *(
        ({"scenario": name}, "(?i)scenario")
        for name in ("papr", 3, np.nan, {"num_ues": 0}, {"num_use": 3})
    ),
    ({"observe": "all"}, "unknown observe 'all'; known: objective, prompt"),
    ({"render_mode": "braille"}, "unknown render_mode .braille.; known:"),
]
SIZES = [({"num_ues": sizes}, "num_ues is") for sizes in (6, (3,), (6, 3), (0, 3), (2.5, 4))]
QUEUE_ARGUMENTS = [
    *(row for row in ARGUMENTS if row[0] != {"num_slots": None}),
    *(({"reward": reward}, "reward") for reward in (lambda *_: 0.0, "cheap", None)),
    ({"scenario": "paper"}, "scenario is 'paper'; allowed: one of qeco"),
    ({"scenario": {"deadline_s": 0.1}}, "QueueScenario.deadline_s is 0.1"),
]
VECTOR_ARGUMENTS = [
    *(({"num_envs": count}, "num_envs is") for count in (0, -1, 1.5, True, np.nan, "2", None)),
    *(({"copy": flag}, "copy is") for flag in (1, "yes", None)),
    *(({"autoreset_mode": mode}, "autoreset_mode") for mode in ("Later", 1, None)),
]
WPMEC_ARGUMENTS = [
    *(({"num_devices": count}, "num_devices is") for count in (0, -1, 1.5, True, np.nan, "2")),
    *(({"num_frames": count}, "num_frames is") for count in (0, -1, 1.5, True, np.nan, "2")),
    *(
        ({"frames": frames}, "frames")
        for frames in (3, [[1e-6]], "absent.mat", Frames([[1e-6] * 4]))
    ),
    ({"render_mode": "human"}, "render_mode is 'human'"),
]


def arguments_of(env_id: str) -> list:
    if env_id == "LAMBO-WPMEC-v0":
        return WPMEC_ARGUMENTS
    return QUEUE_ARGUMENTS if env_id == QUEUE else [*ARGUMENTS, *SIZES]


def options_of(env_id: str) -> list:
    if env_id == "LAMBO-WPMEC-v0":
        return WPMEC_OPTIONS
    return QUEUE_OPTIONS if env_id == QUEUE else OFFLOADING_OPTIONS


def test_every_registered_id_is_here():
    assert set(SINGLE) == {env_id for env_id in gym.registry if env_id.startswith("LAMBO-")}


@pytest.mark.filterwarnings(
    "ignore:.*being initialised with render_mode"
)  # Gymnasium's own word, before ours
@pytest.mark.parametrize("env_id", SINGLE)
def test_bad_arguments_are_named(env_id):
    for kwargs, text in arguments_of(env_id):
        with pytest.raises(ValueError, match=text):
            gym.make(env_id, **{**SINGLE[env_id], **kwargs})
    with pytest.raises(TypeError, match="promt"):
        gym.make(env_id, promt="minimum energy")


@pytest.mark.parametrize("env_id", CELLS)
def test_bad_arguments_of_a_batch_are_named(env_id):
    for kwargs, text in [*arguments_of(env_id), *VECTOR_ARGUMENTS]:
        with pytest.raises(ValueError, match=text):
            gym.make_vec(env_id, **{"num_envs": ROWS, **CELLS[env_id], **kwargs})
    with pytest.raises(TypeError, match="promt"):
        gym.make_vec(env_id, ROWS, promt="minimum energy")


@pytest.mark.parametrize("env_id", CELLS)
def test_nothing_is_told_before_the_first_episode(env_id):
    for env in (
        gym.make(env_id, **CELLS[env_id]),
        gym.make_vec(env_id, ROWS, **CELLS[env_id]),
    ):
        row = () if isinstance(env, gym.Env) else (0,)
        calls = [
            lambda base=env.unwrapped: base.action_masks(),
            lambda base=env.unwrapped, row=row: base.frame(*row),
            lambda base=env.unwrapped: base.prompts,
            lambda base=env.unwrapped: base.instances,
        ]
        for call in calls:
            with pytest.raises(ResetNeeded):
                call()


def single_mistakes(env_id: str, space: gym.Space) -> list:
    """(call, text) of what a reset and a step of one environment refuse."""
    kinds = [
        None,
        "0",
        1j,
        np.nan,
        {},
        object(),
        [[0], [0, 0]],
        [None, 0],
        np.zeros((1, 2)),
        np.zeros(4),
        2**80,
    ]
    if isinstance(space, gym.spaces.Discrete):
        kinds += [-1, space.n, 2.0, True, [0], np.array([2]), np.array(1.0)]
    elif isinstance(space, gym.spaces.Box):
        kinds += [
            0,
            [0, np.nan],
            [np.inf, 0],
            [0, 1.001],
            [-1.001, 0],
            ["0", "0"],
            [True, False],
            [1j, 0],
        ]
    else:
        kinds += [0, [0, 1], [0, 1, 2], [0, 1, 0.5], [0, 1, -1], [0, 1, np.nan], ["0", "1", "0"]]
    options = options_of(env_id)
    return [
        *((lambda env, a=action: env.step(a), "action") for action in kinds),
        *((lambda env, s=seed: env.reset(seed=s), text) for seed, text in SEEDS),
        *((lambda env, o=chosen: env.reset(seed=9, options=o), text) for chosen, text in options),
    ]


@pytest.mark.parametrize("env_id", SINGLE)
def test_mistakes_change_nothing(env_id):
    env, twin = gym.make(env_id, **SINGLE[env_id]), gym.make(env_id, **SINGLE[env_id])
    with pytest.raises(ResetNeeded):
        env.unwrapped.step(env.action_space.sample())
    same(env.reset(seed=3), twin.reset(seed=3), "reset")
    rng, over = np.random.default_rng(0), False
    for call, text in single_mistakes(env_id, env.action_space):
        with pytest.raises(ValueError, match=text):
            call(env)
    for _ in range(2):
        while not over:
            action = random_action(env, rng)
            moved = env.step(action)
            same(moved, twin.step(action), "a step after")
            over = moved[2]
        with pytest.raises(ResetNeeded):
            env.step(random_action(env, rng))
        same(env.reset(), twin.reset(), "the next episode")
        over = False


def vector_mistakes(env_id, good: np.ndarray) -> list:
    """(call, text) of what a vector environment refuses; ``good`` are actions that it takes."""
    ragged = [[0, 0], [0], [0, 0]]
    kinds = [
        None,
        "0",
        {},
        object(),
        ragged,
        [None] * ROWS,
        0,
        good[:-1],
        good[None],
        np.concatenate([good, good[:1]]),
    ]
    kinds += [good.astype(kind) for kind in (complex, str, object, bool)]
    for value in (99, -99, *((np.nan, np.inf, 1.001) if good.dtype.kind == "f" else ())):
        spoilt = good.copy()
        spoilt[-1] = value
        kinds.append(spoilt)
    masks = [
        np.ones(2, dtype=bool),
        [True] * ROWS,
        np.ones(ROWS),
        np.zeros(ROWS, dtype=bool),
        "all",
        1,
    ]
    seeds = [
        *SEEDS,
        *((seeds, "seed is") for seeds in ([1, 2], [1, 2, -3], [1, 2, 0.5], np.arange(2), "abc")),
    ]
    return [
        *((lambda env, a=actions: env.step(a), "actions is") for actions in kinds),
        *((lambda env, s=seed: env.reset(seed=s), text) for seed, text in seeds),
        *(
            (lambda env, o=chosen: env.reset(seed=9, options=o), text)
            for chosen, text in options_of(env_id)
        ),
        *(
            (lambda env, m=mask: env.reset(options={"reset_mask": m}), "reset_mask")
            for mask in masks
        ),
        *((lambda env, r=row: env.unwrapped.frame(r), "row is") for row in (ROWS, -1, 0.5, "0")),
    ]


@pytest.mark.parametrize(("env_id", "mode"), VECTOR)
def test_mistakes_change_nothing_in_a_batch(env_id, mode):
    env, twin = (gym.make_vec(env_id, ROWS, autoreset_mode=mode, **CELLS[env_id]) for _ in range(2))
    rng, kind = np.random.default_rng(0), env.single_action_space

    def actions():
        if isinstance(kind, gym.spaces.Discrete):
            return rng.integers(kind.n, size=ROWS)
        return rng.uniform(-1, 1, (ROWS, 2)).astype(np.float32)

    with pytest.raises(ResetNeeded):
        env.step(actions())
    same(env.reset(seed=3), twin.reset(seed=3), "reset")
    for call, text in vector_mistakes(env_id, actions()):
        with pytest.raises(ValueError, match=text):
            call(env)
    for _ in range(2 * 12 + 3):
        action = actions()
        moved = env.step(action)
        same(moved, twin.step(action), "a step after")
        if mode == "Disabled" and moved[2].any():
            with pytest.raises(ResetNeeded, match="rows"):
                env.step(action)
            ended = {"reset_mask": moved[2]}
            same(env.reset(options=ended), twin.reset(options=ended), "the next episode")
