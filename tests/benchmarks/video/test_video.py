"""Films and RecordVideo: every moment of both agents, files whole or absent."""

import re
import sys
import types
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

pygame = pytest.importorskip("pygame")
Image = pytest.importorskip("PIL.Image")

from benchmarks.cli import main
from benchmarks.video import writer as film
from benchmarks.video.episode import Setting, play, render_episode
from lambo_agents.registry import make_agent
from lambo_env.offloading.physics import evaluate
from lambo_env.offloading.scenario import load_scenario
from lambo_env.rendering import renderer

ID = "lambo_env:LAMBO-MEC-Association-v0"


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> list:
    """Gymnasium's RecordVideo hands its frames to moviepy.

    Where that is absent a stand-in notes what it was given.
    """
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
    assert fps == renderer.FPS
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
        assert np.array_equal(np.asarray(image), renderer.picture(frames[-1]))
    render_episode("greedy", tmp_path / "all.txt", scenario="tiny", bound=False)
    text = (tmp_path / "all.txt").read_text(encoding="ascii")
    assert text == "\n\n".join(map(renderer.text, frames)) + "\n"


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
    assert "certified optimum 0.2500 s" in renderer.text(first[6])
    assert [frame.slot for frame in first] == [0] * 7 + [1] * 7


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"out": "film.avi"},
            r"--out is 'film.avi'; allowed: a name that ends in .mp4, .gif, .png, .txt",
        ),
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
def test_bad_arguments_are_named_and_nothing_is_written(
    wrong: dict, message: str, tmp_path: Path, monkeypatch
):
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
    out.write_bytes(b"old, of lambo render")
    frames = list(play("local", Setting(scenario=load_scenario("tiny"), limit_s=0.0), {}))

    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        film.write_film([[frame] for frame in frames], out)
    assert out.read_bytes() == b"old, of lambo render"
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "film.txt"
    assert (
        main(["render", "--agent", "local", "--scenario", "tiny", "--no-bound", "--out", str(out)])
        == 0
    )
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote {out}"
    assert out.read_text().startswith("local: slot 1 of 1, 0 of 6 UEs decided\n")
    assert main(["render", "--out", str(tmp_path / "film.mov")]) == 2


@pytest.mark.parametrize("suffix", [".txt", ".png", ".gif", ".mp4"])
def test_a_film_replaces_an_older_film_and_nothing_else(suffix: str, tmp_path: Path):
    if suffix != ".txt":
        pytest.importorskip("imageio_ffmpeg")
    frames = list(play("local", Setting(scenario=load_scenario("tiny"), limit_s=0.0), {}))[-1:]
    out = tmp_path / f"film{suffix}"
    for _ in range(2):
        film.write_film([[frame] for frame in frames], out)
    out.write_bytes(b"a holiday")
    with pytest.raises(ValueError, match="this one is another's"):
        film.write_film([[frame] for frame in frames], out)
    assert out.read_bytes() == b"a holiday"


def test_tasks_that_wait_are_filmed_slot_by_slot(tmp_path):
    out = tmp_path / "queues.txt"
    scenario = {"world": "queueing", "num_ues": 5, "num_slots": 6, "arrival_probability": 0.8}
    lines = render_episode("local-if-fits", out, versus="local", scenario=scenario, bound=False)
    assert len(lines) == 3
    assert re.fullmatch(r"local-if-fits: cost 0\.\d+ s, \d+ of \d+ tasks late", lines[0])
    text = out.read_text()
    assert "local: slot 1 of 6" in text and "uplink queues:" in text
