"""Pictures of waiting tasks: bars that grow, drops marked, quick."""

import time

import gymnasium as gym
import numpy as np
import pytest

import lambo_env  # noqa: F401 - registers the ids
from lambo_env.queueing.observation import UE

pytest.importorskip("pygame")

ID = "LAMBO-MEC-Queue-v0"


def frames(count, mode, **kwargs):
    """Pictures of an episode in which everything goes to server 1."""
    env = gym.make(ID, render_mode=mode, prompt="minimum latency", **kwargs)
    env.reset(seed=0)
    for _ in range(count):
        yield env.render(), env.unwrapped.frame()
        if env.step(1)[2]:
            break
    yield env.render(), env.unwrapped.frame()


def test_bars_grow_and_drops_are_marked():
    played = list(frames(480, "rgb_array", scenario="queue"))
    pictures, shown = zip(*played, strict=True)
    assert pictures[0].shape == (600, 800, 3) and pictures[0].dtype == np.uint8
    bar = (slice(220, 260), slice(564, 776))  # of server 1
    dark = [np.count_nonzero(picture[bar].sum(axis=-1) < 500) for picture in pictures]
    assert dark[0] < dark[300] and shown[0].waiting[0] < shown[300].waiting[0]
    assert not shown[0].late and shown[-1].late > 0
    dropped = next(k for k, frame in enumerate(shown) if frame.dropped.any())
    crosses = [picture[112:130, 30:510] for picture in (pictures[0], pictures[dropped])]
    assert np.count_nonzero(crosses[1].sum(axis=-1) < 200) > np.count_nonzero(
        crosses[0].sum(axis=-1) < 200
    )
    spent_s = []
    env = gym.make(ID, render_mode="rgb_array")
    env.reset(seed=1)
    for _ in range(30):
        env.step(1)
        start = time.process_time()
        env.render()
        spent_s.append(time.process_time() - start)
    assert np.median(spent_s) < 0.010


def test_the_text_says_what_waits():
    *_, (text, frame) = frames(60, "ansi", scenario={"num_ues": 8, "num_slots": 10})
    assert "uplink queues:" in text and f"{frame.late} late" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "to decide: nobody" in text and frame.current is None


def test_a_frame_shows_the_queues_that_the_observation_shows():
    env = gym.make(ID, scenario={"num_ues": 8, "num_slots": 20}).unwrapped
    seen, _ = env.reset(seed=3)
    for _ in range(15):
        seen = env.step(0)[0]
    queue = env.frame().cpu_queue
    np.testing.assert_allclose(queue / (1 + queue), seen["ues"][:, UE.CPU_QUEUE], atol=1e-6)
