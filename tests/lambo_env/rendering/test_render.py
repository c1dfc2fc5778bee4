"""Pictures and texts of a slot: shape, content, no display, the optimum when asked for."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

pygame = pytest.importorskip("pygame")
Image = pytest.importorskip("PIL.Image")

from benchmarks.speed.rendering import picture_times
from lambo_agents.registry import make_agent
from lambo_env.offloading.batch import EpisodeBatch
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import MovingSlots
from lambo_env.prompts.prompts import Prompts
from lambo_env.rendering import renderer, scene, shapes
from lambo_env.rendering.frame import Frame, layout

ROOT = Path(__file__).resolve().parents[3]


def played(
    preset: str = "tiny",
    decided: int = 4,
    place: int | None = None,
    seed: int = 0,
    given: bool = False,
    **rest,
) -> Frame:
    """A slot in which the first UEs went to legal places (or all to `place`).

    Each took a tenth of what was left.
    """
    text, num_slots = rest.pop("prompt", "minimum latency"), rest.pop("num_slots", 1)
    slots = MovingSlots(load_scenario(preset))
    batch = EpisodeBatch(slots, Prompts.of(text), 1, num_slots, shares=True, objective=False)
    row, rngs, draw = (
        np.zeros(1, dtype=np.int64),
        [np.random.default_rng(seed)],
        np.random.default_rng(1),
    )
    batch.reset(row, rngs)
    if given:
        batch.reset(row, rngs, batch.instances)
    for _ in range(decided):
        choice = (
            (draw.random(batch.num_places) * batch.mask()).argmax(axis=1)
            if place is None
            else row + place
        )
        batch.step(row, choice, np.full(1, 0.1), rngs)
    return Frame.from_decision(**(batch.picture(0) | rest))


def test_a_picture_is_rgb_and_owns_its_memory():
    picture = renderer.picture(played())
    assert picture.shape == (600, 800, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    again = renderer.picture(played())
    assert np.array_equal(again, picture)
    assert not np.shares_memory(again, picture)


@pytest.mark.parametrize(
    "other",
    [
        {"decided": 5},
        {"seed": 1},
        {"place": 0},
        {"prompt": "minimum energy"},
        {"title": "greedy"},
        {"optimum": 0.3},
        {"given": True},
        {"num_slots": 2},
    ],
    ids=str,
)
def test_what_differs_is_seen_in_picture_and_text(other: dict):
    base, changed = played(), played(**other)
    assert not np.array_equal(renderer.picture(base), renderer.picture(changed))
    assert renderer.text(base) != renderer.text(changed)


@pytest.mark.parametrize("preset", ["tiny", "paper", "hetero", "dense", "wide", "are2020"])
def test_every_preset_stays_inside_the_board(preset: str):
    surface = pygame.Surface((scene.SIZE[0] + 40, scene.SIZE[1] + 40), 0, 32)
    surface.fill((1, 2, 3))
    frame = played(preset, 3, optimum=1.0, title="a long name " * 20)
    scene.draw(surface, dataclasses.replace(frame, prompt="long prompt " * 13))
    pixels = pygame.surfarray.array3d(surface)
    width, height = scene.SIZE
    assert np.all(pixels[width:] == (1, 2, 3))
    assert np.all(pixels[:, height:] == (1, 2, 3))
    margin = np.concatenate(
        [pixels[:10, :height].reshape(-1, 3), pixels[width - 10 : width, :height].reshape(-1, 3)]
    )
    assert np.all(margin == shapes.PAPER)


def test_lateness_is_drawn():
    frame = played("hetero", 50, place=2)
    assert frame.late.any()
    assert np.any(np.all(renderer.picture(frame) == shapes.LATE, axis=-1)[90:570, 30:510])
    assert f"{int(frame.late.sum())} late" in renderer.text(frame)


def test_the_ramp_is_told_apart_and_clipped():
    assert shapes.ramp(-1.0) == shapes.ramp(0.0) == shapes.RAMP[0][1]
    assert shapes.ramp(7.0) == shapes.ramp(1.0) == shapes.RAMP[-1][1]
    assert len({shapes.ramp(k / 10) for k in range(11)}) == 11


def test_latency_gap_and_load_of_a_frame():
    frame = played("paper", 50, optimum=0.2)
    assert frame.gap == pytest.approx(frame.cost / 0.2 - 1)
    assert frame.cost == pytest.approx(frame.latency_s.mean())
    assert np.all((frame.used >= 0) & (frame.used <= 1))
    assert frame.unit == "s"
    partly = dataclasses.replace(frame, decided=np.arange(50) < 9)
    assert partly.gap is None
    assert sum(partly.ues_on(place) for place in range(5)) == 9
    assert np.isnan(played("paper", 9).latency_s[9:]).all()


@pytest.mark.parametrize(("ues", "servers"), [(1, 1), (7, 1), (50, 4), (200, 16)])
def test_made_up_positions_lie_inside_and_near_the_best_server(ues: int, servers: int):
    rates = np.random.default_rng(0).uniform(1e6, 1e9, (ues, servers))
    ue_xy, server_xy = layout(rates)
    assert np.all((ue_xy >= 0) & (ue_xy <= 1) & np.isfinite(ue_xy))
    assert np.all((server_xy >= 0) & (server_xy <= 1))
    assert len(np.unique(ue_xy.round(9), axis=0)) == ues
    nearest = np.linalg.norm(ue_xy[:, None] - server_xy, axis=-1).argmin(axis=1)
    assert np.array_equal(nearest, rates.argmax(axis=1))


def test_the_text_is_ascii_and_says_what_the_picture_says():
    frame = played("paper", 20, optimum=0.25, title="greedy")
    text = renderer.text(frame)
    lines = text.splitlines()
    assert text.isascii()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "greedy: slot 1 of 1, 20 of 50 UEs decided"
    assert lines[1] == 'prompt "minimum latency"'
    assert f"cost {frame.cost:#.4g} s, certified optimum 0.2500 s" in lines[-1]
    grid = "".join(line[1:-1] for line in lines[3:-6])
    assert grid.count("@") == 1
    assert all(grid.count(letter) == 1 for letter in "ABCD")
    assert sum(line.startswith(tuple("ABCD")) for line in lines) == 4


def test_tiles():
    one, two = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6, 3), np.uint8)
    assert renderer.tile([one, two], columns=2).shape == (4, 12, 3)
    three = renderer.tile([one, two, two])
    assert three.shape == (8, 12, 3)
    assert np.all(three[4:, 6:] == 255)
    with pytest.raises(ValueError, match=r"tile\(pictures\)"):
        renderer.tile([])


def test_modes():
    frame = played()
    assert np.array_equal(renderer.Renderer("rgb_array").render(frame), renderer.picture(frame))
    assert renderer.Renderer("ansi").render(frame) == renderer.text(frame)
    assert renderer.Renderer(None).render(frame) is None
    assert [type(one) for one in renderer.Renderer("rgb_array").render_all([frame, frame])] == [
        np.ndarray
    ] * 2
    with pytest.raises(ValueError, match="did you mean 'rgb_array'"):
        renderer.Renderer("rgb")


def run(code: str, **environment: str) -> str:
    base = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            f"import sys; sys.path.insert(0, 'tests/lambo_env/rendering')\n{code}",
        ],
        cwd=ROOT,
        env={**base, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pictures_need_no_display_and_greet_nobody():
    out = run(
        "from test_render import played, renderer, pygame\n"
        "display = pygame.display\n"
        "print(renderer.picture(played()).shape, display.get_init(), display.get_surface())",
        PYGAME_HIDE_SUPPORT_PROMPT="1",
    )
    assert out == "(600, 800, 3) False None\n"
    quiet = run(
        "import numpy, lambo_env.rendering.renderer as r\n"
        "r._scene(); print('pygame' in sys.modules)"
    )
    assert quiet == "True\n"


def test_text_needs_no_pygame():
    out = run(
        "sys.modules['pygame'] = None\n"
        "import numpy as np, lambo_env.rendering.renderer as renderer\n"
        "try:\n    renderer.Renderer('rgb_array').render(None)\n"
        "except ImportError as error: print(error)\n"
        "from gymnasium.error import DependencyNotInstalled\n"
        "assert issubclass(renderer.PygameMissingError, DependencyNotInstalled)"
    )
    assert 'pip install "lambo-mec[render]"' in out


def test_the_window_shows_frames_and_can_be_closed():
    out = run(
        "from test_render import played, renderer, pygame\n"
        "window = renderer.Renderer('human', fps=1000)\n"
        "assert window.render(played()) is None\n"
        "shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)\n"
        "print((shown == renderer.picture(played())).all())\n"
        "pygame.event.post(pygame.event.Event(pygame.QUIT))\n"
        "window.render(played()); print(pygame.display.get_init())\n"
        "window.render(played()); window.close(); print(pygame.display.get_init())\n"
        "tiles = renderer.Renderer('human', fps=1000); tiles.render_all([played()] * 6)\n"
        "print(pygame.display.get_surface().get_size()); tiles.close(); tiles.close()\n",
        SDL_VIDEODRIVER="dummy",
        PYGAME_HIDE_SUPPORT_PROMPT="1",
    )
    assert out.split("\n")[:4] == ["True", "False", "False", "(1120, 840)"]


# ---- environments and films ----------------------------------------------------------------------

ID = "lambo_env:LAMBO-MEC-Association-v0"


@pytest.mark.parametrize(("mode", "kind"), [("rgb_array", np.ndarray), ("ansi", str)])
def test_an_environment_renders_each_moment_anew(mode: str, kind: type):
    env = gym.make(ID, scenario="tiny", prompt="minimum energy", num_slots=2, render_mode=mode)
    env.reset(seed=0)
    seen, over = [env.render()], False
    while not over:
        over = env.step(int(env.get_wrapper_attr("action_masks")().nonzero()[0][-1]))[2]
        seen.append(env.render())
    env.close()
    assert len(seen) == 13
    assert all(isinstance(one, kind) for one in seen)
    assert len({bytes(one) if kind is np.ndarray else one for one in seen}) == 13


def test_whoever_can_prove_the_optimum_shows_it_beside_the_cost():
    env = gym.make(ID, scenario="tiny", prompt="minimum energy", render_mode="ansi").unwrapped
    env.reset(seed=0)
    bound = make_agent("exact").solve(env.instances, env.prompts).lower_bound.item()
    assert "certified optimum" not in env.render()
    frame = dataclasses.replace(env.frame(), optimum=bound)
    assert f"certified optimum {bound:#.4g} J" in renderer.text(frame)
    for _ in range(6):
        env.step(0)
    assert "%" in renderer.text(dataclasses.replace(env.frame(), optimum=bound))


def test_no_ue_hides_behind_a_server():
    frame = played("paper", decided=0)
    ues, servers = frame.ue_xy.copy(), frame.server_xy
    ues[:4] = servers
    for at, server in zip(*scene._pixels(dataclasses.replace(frame, ue_xy=ues)), strict=False):
        assert np.hypot(*np.subtract(at, server)) > 15


def test_given_instances_are_drawn_without_positions():
    env = gym.make(ID, scenario="tiny", render_mode="ansi")
    env.reset(seed=0)
    with_map = env.render()
    env.reset(seed=0, options={"instances": env.unwrapped.instances, "prompt": "minimum latency"})
    frame = env.unwrapped.frame()
    assert frame.ue_xy is frame.server_xy is frame.side_m is None
    assert env.render().splitlines()[3:20] != with_map.splitlines()[3:20]
    env.close()


def test_picture_times_cover_an_episode():
    times = picture_times("tiny", rounds=1)
    assert times.pictures == 7
    assert 0 < times.median_ms <= times.q95_ms


@pytest.mark.parametrize(("num_envs", "shape"), [(2, (600, 1600, 3)), (6, (1200, 2400, 3))])
def test_a_vector_environment_shows_its_rows(num_envs: int, shape: tuple[int, ...]):
    envs = gym.make_vec(ID, num_envs, scenario="tiny", render_mode="rgb_array")
    envs.reset(seed=0)
    pictures = envs.render()
    single = gym.make(ID, scenario="tiny", render_mode="rgb_array")
    single.reset(seed=1)
    assert len(pictures) == num_envs
    assert np.array_equal(pictures[1], single.render())
    assert renderer.tile(pictures).shape == shape
    envs.close()
    single.close()
