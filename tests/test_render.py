"""Pictures and texts of a slot: shape, content, no display, films whole or absent."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pygame = pytest.importorskip("pygame")

from lambo_env import board, render, sprites  # noqa: E402
from lambo_env.engine import Engine  # noqa: E402
from lambo_env.frame import Frame, layout  # noqa: E402
from lambo_env.prompt import PromptSet  # noqa: E402
from lambo_env.scenario import load_scenario  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


def played(
    preset: str = "tiny", decided: int = 4, place: int | None = None, seed: int = 0, given: bool = False, **rest
) -> Frame:
    """A slot in which the first UEs went to legal places (or all to `place`), each taking a tenth of what is left."""
    text, num_slots = rest.pop("prompt", "minimum latency"), rest.pop("num_slots", 1)
    engine = Engine(load_scenario(preset), PromptSet(text), 1, num_slots, shares=True, objective=False)
    row, rngs, draw = np.zeros(1, dtype=np.int64), [np.random.default_rng(seed)], np.random.default_rng(1)
    engine.reset(row, rngs)
    if given:
        engine.reset(row, rngs, engine.instances)
    for _ in range(decided):
        choice = (draw.random(engine.num_places) * engine.mask()).argmax(axis=1) if place is None else row + place
        engine.step(row, choice, np.full(1, 0.1), rngs)
    return dataclasses.replace(engine.frame(0), **rest)


def test_a_picture_is_rgb_and_owns_its_memory():
    picture = render.picture(played())
    assert picture.shape == (600, 800, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    again = render.picture(played())
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
    assert not np.array_equal(render.picture(base), render.picture(changed))
    assert render.text(base) != render.text(changed)


@pytest.mark.parametrize("preset", ["tiny", "paper", "hetero", "dense", "wide", "are2020"])
def test_every_preset_stays_inside_the_board(preset: str):
    surface = pygame.Surface((board.SIZE[0] + 40, board.SIZE[1] + 40), 0, 32)
    surface.fill((1, 2, 3))
    frame = played(preset, 3, optimum=1.0, title="a long name " * 20)
    board.draw(surface, dataclasses.replace(frame, prompt="long prompt " * 13))
    pixels = pygame.surfarray.array3d(surface)
    width, height = board.SIZE
    assert np.all(pixels[width:] == (1, 2, 3))
    assert np.all(pixels[:, height:] == (1, 2, 3))
    margin = np.concatenate([pixels[:10, :height].reshape(-1, 3), pixels[width - 10 : width, :height].reshape(-1, 3)])
    assert np.all(margin == sprites.PAPER)


def test_lateness_is_drawn():
    frame = played("hetero", 50, place=2)
    assert frame.late.any()
    assert np.any(np.all(render.picture(frame) == sprites.LATE, axis=-1)[90:570, 30:510])
    assert f"{int(frame.late.sum())} late" in render.text(frame)


def test_the_ramp_is_told_apart_and_clipped():
    assert sprites.ramp(-1.0) == sprites.ramp(0.0) == sprites.RAMP[0][1]
    assert sprites.ramp(7.0) == sprites.ramp(1.0) == sprites.RAMP[-1][1]
    assert len({sprites.ramp(k / 10) for k in range(11)}) == 11


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
    text = render.text(frame)
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
    assert render.tile([one, two], columns=2).shape == (4, 12, 3)
    three = render.tile([one, two, two])
    assert three.shape == (8, 12, 3)
    assert np.all(three[4:, 6:] == 255)
    with pytest.raises(ValueError, match=r"tile\(pictures\)"):
        render.tile([])


def test_modes():
    frame = played()
    assert np.array_equal(render.Renderer("rgb_array").render(frame), render.picture(frame))
    assert render.Renderer("ansi").render(frame) == render.text(frame)
    assert render.Renderer(None).render(frame) is None
    assert [type(one) for one in render.Renderer("rgb_array").render_all([frame, frame])] == [np.ndarray] * 2
    with pytest.raises(ValueError, match="did you mean 'rgb_array'"):
        render.Renderer("rgb")


def run(code: str, **environment: str) -> str:
    import os

    base = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, 'tests')\n{code}"],
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
        "from test_render import played, render, pygame\n"
        "print(render.picture(played()).shape, pygame.display.get_init(), pygame.display.get_surface())",
        PYGAME_HIDE_SUPPORT_PROMPT="1",
    )
    assert out == "(600, 800, 3) False None\n"
    quiet = run("import numpy, lambo_env.render as r; r._board(); print('pygame' in sys.modules)")
    assert quiet == "True\n"


def test_text_needs_no_pygame():
    out = run(
        "sys.modules['pygame'] = None\nimport numpy as np, lambo_env.render as render\n"
        "try:\n    render.Renderer('rgb_array').render(None)\n"
        "except ImportError as error: print(error)\n"
        "import gymnasium.error\nassert issubclass(render.PygameMissingError, gymnasium.error.DependencyNotInstalled)"
    )
    assert 'pip install "lambo-mec[render]"' in out


def test_the_window_shows_frames_and_can_be_closed():
    out = run(
        "from test_render import played, render, pygame\n"
        "window = render.Renderer('human', fps=1000)\n"
        "assert window.render(played()) is None\n"
        "shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)\n"
        "print((shown == render.picture(played())).all())\n"
        "pygame.event.post(pygame.event.Event(pygame.QUIT))\n"
        "window.render(played()); print(pygame.display.get_init())\n"
        "window.render(played()); window.close(); print(pygame.display.get_init())\n"
        "tiles = render.Renderer('human', fps=1000); tiles.render_all([played()] * 6)\n"
        "print(pygame.display.get_surface().get_size()); tiles.close(); tiles.close()\n",
        SDL_VIDEODRIVER="dummy",
        PYGAME_HIDE_SUPPORT_PROMPT="1",
    )
    assert out.split("\n")[:4] == ["True", "False", "False", "(1120, 840)"]
