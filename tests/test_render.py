"""Pictures and texts of a slot: shape, content, no display, films whole or absent."""

import dataclasses
import os
import subprocess
import sys
import types
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

pygame = pytest.importorskip("pygame")
Image = pytest.importorskip("PIL.Image")

from benchmarks import film  # noqa: E402
from benchmarks.cli import main  # noqa: E402
from benchmarks.render_episode import Setting, play, render_episode  # noqa: E402
from benchmarks.throughput_render import picture_times  # noqa: E402
from lambo_agents.registry import make_agent  # noqa: E402
from lambo_env import board, render, sprites  # noqa: E402
from lambo_env.engine import Engine  # noqa: E402
from lambo_env.frame import Frame, layout  # noqa: E402
from lambo_env.physics import evaluate  # noqa: E402
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


# ---- environments and films -----------------------------------------------------------------------------------------

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


def test_given_instances_are_drawn_without_positions():
    env = gym.make(ID, scenario="tiny", render_mode="ansi")
    env.reset(seed=0)
    with_map = env.render()
    env.reset(seed=0, options={"instances": env.unwrapped.instances, "prompt": "minimum latency"})
    frame = env.unwrapped.frame()
    assert frame.ue_xy is frame.server_xy is frame.side_m is None
    assert env.render().splitlines()[3:20] != with_map.splitlines()[3:20]
    env.close()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> list:
    """Gymnasium's RecordVideo hands its frames to moviepy; where that is absent a stand-in notes what it was given."""
    given: list = []

    class Clip:
        def __init__(self, frames: list, fps: int) -> None:
            given.append((frames, fps))

        def write_videofile(self, path: str, **_: object) -> None:
            Path(path).write_bytes(b"film")

    names = ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip")
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[names[-1]].ImageSequenceClip = Clip
    return given


def record(folder: Path) -> Path:
    env = gym.make(ID, scenario="tiny", render_mode="rgb_array")
    env = gym.wrappers.RecordVideo(env, str(folder), disable_logger=True)
    env.reset(seed=0)
    while not env.step(0)[2]:
        pass
    env.close()
    (film,) = folder.glob("*.mp4")
    return film


def test_record_video_gets_every_frame(recorder: list, tmp_path: Path):
    record(tmp_path / "films")
    ((frames, fps),) = recorder
    assert fps == render.FPS
    assert [frame.shape for frame in frames] == [(600, 800, 3)] * 7


@pytest.mark.filterwarnings("ignore")  # moviepy's own
def test_record_video_with_moviepy(tmp_path: Path):
    pytest.importorskip("moviepy")
    assert frames_of(record(tmp_path / "films"))[0] == (800, 600)


def frames_of(path: Path) -> tuple[tuple[int, int], int]:
    """Size and number of the pictures of a film."""
    if path.suffix == ".gif":
        with Image.open(path) as image:
            return image.size, image.n_frames
    coder = pytest.importorskip("imageio_ffmpeg")
    reader = coder.read_frames(str(path))
    size = next(reader)["source_size"]
    reader.close()
    return size, coder.count_frames_and_secs(str(path))[0]


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_films_hold_every_moment_of_both_agents(suffix: str, tmp_path: Path):
    out = tmp_path / f"new/film{suffix}"
    lines = render_episode("greedy", out, versus="local", scenario="tiny", num_slots=2, bound=False)
    assert [line.partition(": cost")[0] for line in lines[:-1]] == [
        "greedy: slot 1 of 2",
        "greedy: slot 2 of 2",
        "local: slot 1 of 2",
        "local: slot 2 of 2",
    ]
    size, count = frames_of(out)
    assert size == (1600, 600)
    held = 2 * (round(film.HOLD_S * 10) - 1) if suffix == ".mp4" else 0
    assert count == 2 * 7 + held
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_picture_is_the_last_moment_and_the_text_has_them_all(tmp_path: Path):
    setting = Setting(scenario=load_scenario("tiny"), limit_s=0.0)
    frames = list(play("greedy", setting, {}))
    render_episode("greedy", tmp_path / "end.png", scenario="tiny", bound=False)
    with Image.open(tmp_path / "end.png") as image:
        assert np.array_equal(np.asarray(image), render.picture(frames[-1]))
    render_episode("greedy", tmp_path / "all.txt", scenario="tiny", bound=False)
    text = (tmp_path / "all.txt").read_text(encoding="ascii")
    assert text == "\n\n".join(map(render.text, frames)) + "\n"


def test_the_episode_is_the_environments_and_costs_what_the_decision_costs():
    scenario = load_scenario("paper")
    frames = list(play("greedy", Setting(scenario=scenario, seed=5, limit_s=0.0), {}))
    env = gym.make("lambo_env:LAMBO-MEC-v0", prompt="minimum latency")
    env.reset(seed=5)
    instances, prompts = env.unwrapped.instances, env.unwrapped.prompts
    assert np.array_equal(frames[0].instances.uplink_bps, instances.uplink_bps)
    decision = make_agent("greedy").decide(instances, prompts, np.random.default_rng(0))
    cost = evaluate(instances, decision, prompts.objective(instances)).cost[0]
    assert frames[-1].cost == pytest.approx(cost, rel=1e-5)
    assert np.array_equal(frames[-1].place, decision.place[0])
    assert [frame.current for frame in frames] == [*range(50), None]
    assert np.all(np.diff([frame.cost for frame in frames]) > 0)
    env.close()


def test_both_agents_face_the_same_slots_and_the_bound_is_shown():
    optima = {0: 0.25, 1: None}
    setting = Setting(scenario=load_scenario("tiny"), num_slots=2, seed=2)
    first, second = (list(play(name, setting, optima)) for name in ("greedy", "random"))
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.instances.data_bits, other.instances.data_bits)
        assert one.optimum == optima[one.slot]
    assert "certified optimum 0.2500 s" in render.text(first[6])
    assert [frame.slot for frame in first] == [0] * 7 + [1] * 7


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"out": "film.avi"}, r"--out is 'film.avi'; allowed: a name that ends in .mp4, .gif, .png, .txt"),
        ({"out": "film"}, "--out is 'film'"),
        ({"agent": "gredy"}, "did you mean 'greedy'"),
        ({"versus": "exatc"}, "unknown agent 'exatc'"),
        ({"scenario": "papr"}, "did you mean 'paper'"),
        ({"prompt": "make tea"}, "prompt is 'make tea'"),
        ({"num_slots": 0}, "--num-slots is 0; allowed: an integer >= 1"),
        ({"seed": -1}, "--seed is -1"),
        ({"fps": 0}, "--fps is 0"),
        ({"limit_s": -1.0, "bound": True}, "--limit-s is -1.0"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(wrong: dict, message: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = {"agent": "greedy", "out": "film.txt", "scenario": "tiny", "bound": False, **wrong}
    with pytest.raises(ValueError, match=message):
        render_episode(**arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".png"])
def test_a_missing_package_is_told_before_the_play(suffix: str, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, {".mp4": "imageio_ffmpeg"}.get(suffix, "PIL"), None)
    with pytest.raises(ImportError, match=r'pip install "lambo-mec\[render\]"'):
        render_episode("greedy", tmp_path / f"film{suffix}", scenario="tiny")


def test_a_failed_film_leaves_the_old_one(tmp_path: Path, monkeypatch):
    out = tmp_path / "film.gif"
    out.write_bytes(b"old")
    frames = list(play("local", Setting(scenario=load_scenario("tiny"), limit_s=0.0), {}))

    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        film.write_film([[frame] for frame in frames], out)
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "film.txt"
    assert main(["render", "--agent", "local", "--scenario", "tiny", "--no-bound", "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote {out}"
    assert out.read_text().startswith("local: slot 1 of 1, 0 of 6 UEs decided\n")
    assert main(["render", "--out", str(tmp_path / "film.mov")]) == 2


def test_picture_times_cover_an_episode():
    times = picture_times("tiny", rounds=1)
    assert times.pictures == 7
    assert 0 < times.median_ms <= times.q95_ms


@pytest.mark.parametrize(("num_envs", "shown"), [(2, 2), (9, render.TILES)])
def test_a_vector_environment_shows_its_first_rows(num_envs: int, shown: int):
    envs = gym.make_vec(ID, num_envs, scenario="tiny", render_mode="rgb_array")
    envs.reset(seed=0)
    pictures = envs.render()
    single = gym.make(ID, scenario="tiny", render_mode="rgb_array")
    single.reset(seed=1)
    assert len(pictures) == shown
    assert np.array_equal(pictures[1], single.render())
    assert render.tile(pictures).shape == (600 * shown // 2, 1600, 3)
    envs.close()
    single.close()
