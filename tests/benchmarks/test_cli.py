"""The command line.

Every verb answers, bad input is one clear line and exit code 2, nothing is left behind.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cli
from benchmarks.commands.bench import BenchOptions, choose, split
from lambo_agents import weights_io
from lambo_env import registration
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances

SWEEP = """
agents = ["local", "greedy", "exact", "not-there"]
scenarios = ["tiny"]
prompts = ["minimum latency", "minimum energy"]
instances = 3
"""


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, with a sweep file and with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.toml").write_text(SWEEP)
    return tmp_path


def test_bench_makes_a_report_and_continues(scratch: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["bench", "mine.toml", "--jobs", "1"]) == 0
    first = capsys.readouterr()
    assert "6 cells played, 0 kept" in first.out
    assert "certified bound" in first.out
    assert "not-there: no result: unknown agent 'not-there'" in first.out
    assert {path.name for path in (scratch / "results" / "mine").iterdir()} >= {
        *("results.jsonl", "manifest.json", "report.md", "report.html", "figures", "bounds"),
    }
    assert cli.main(["bench", "mine.toml", "--jobs", "1", "--no-figures"]) == 0
    assert "0 cells played, 6 kept" in capsys.readouterr().out
    assert cli.main(["report", "results/mine", "--compare", "greedy", "local"]) == 0
    assert "greedy is lower" in capsys.readouterr().out
    assert cli.main(["report", "results/mine", "-o", "mine.md"]) == 0
    assert (scratch / "mine.md").is_file() and (scratch / "mine.html").is_file()


def test_bench_chooses_agents_scenarios_prompts_and_files(
    scratch: Path, capsys: pytest.CaptureFixture[str]
):
    common = [
        "bench",
        "mine.toml",
        "--jobs",
        "1",
        "--no-figures",
        "--agents",
        "local, random",
        "--prompts",
        "minimum energy",
    ]
    assert cli.main([*common, "--scenarios", "tiny", "--out", "a"]) == 0
    assert "2 cells played" in capsys.readouterr().out
    sample_instances(load_scenario("tiny"), 5, np.random.default_rng(0)).save(scratch / "five.npz")
    assert cli.main([*common, "--data", "five.npz", "--out", "b"]) == 0
    out = capsys.readouterr().out
    assert "4 cells played" in out  # two agents, two blocks of at most three
    assert "on five (" in out


def test_bench_plays_weights_of_ones_own_as_a_further_row(scratch: Path):
    pytest.importorskip("torch")
    shipped = Path(weights_io.__file__).parent / "weights" / "lambo-s.safetensors"
    sweep = choose(BenchOptions("mine.toml", agents="local", weights=f"lambo-s={shipped}"))
    first, own = sweep.agents
    assert first.label == "local" and own.name == "lambo-s" and own.label.startswith("lambo-s (")
    assert Path(own.kwargs["weights"]).samefile(shipped)


def test_bench_chooses_by_the_sweeps_own_names_commas_included():
    sweep = choose(
        BenchOptions("de", agents="de, 1 s,greedy, lambo-s, best of 16, polished,lambo-s")
    )
    assert [agent.label for agent in sweep.agents] == [
        "de, 1 s",
        "greedy",
        "lambo-s, best of 16, polished",
        "lambo-s",
    ]
    assert sweep.agents[0].kwargs["generations"] == 300
    sweep = choose(BenchOptions("generalise", scenarios="cycles x1.5,tiny"))
    assert [source.name for source in sweep.scenarios] == ["cycles x1.5", "tiny"]
    assert split("b, a, b, c", {"a, b"}) == ["b", "a, b", "c"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("list agents", ["greedy", "local-search", "lambo-mec"]),
        ("list envs", ["LAMBO-MEC-v0", "LAMBO-WPMEC-v0", "wpmec", "devices offload"]),
        ("list scenarios", ["paper", "hetero", "6b4df35477816657"]),
        ("list prompts", ["latency", "energy", "mix"]),
        ("list prompts --all", ["held_out", "train"]),
        ("list sweeps", ["paper", "quick", "ci"]),
        ("scenario show tiny", ["num_ues = 6"]),
        (
            "evaluate greedy --scenario tiny --instances 4",
            ["minimum latency", "minimum energy", "gap %"],
        ),
        (
            "evaluate local --scenario tiny --instances 2 --prompt 'minimum energy' --no-bound",
            ["minimum energy"],
        ),
        ("check agent local", ["capacity", "ok"]),
        ("check env LAMBO-MEC-v0", ["ok"]),
        (
            "throughput --agents local,greedy --scenario tiny --budget-s 0.02",
            ["local-search", "cores"],
        ),
        ("scenario check tiny --instances 4", ["stale CSI", "greedy"]),
        ("--help", ["bench", "report", "scenario"]),
        ("bench --help", ["--agents", "--fresh"]),
    ],
)
def test_verbs_answer(line: str, words: list[str], capsys: pytest.CaptureFixture[str]):
    import shlex

    assert cli.main(shlex.split(line)) == 0
    out = capsys.readouterr().out
    for word in words:
        assert word in out


def test_scenario_show_prints_what_loads_again(scratch: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["scenario", "show", "hetero"]) == 0
    (scratch / "copy.toml").write_text(capsys.readouterr().out)
    assert load_scenario(str(scratch / "copy.toml")) == load_scenario("hetero")


def test_version_cites_the_paper(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["--version"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("lambo ") and "2308.15078" in out


BAD = [
    ("benhc", "bench"),
    ("bench papper", "did you mean 'paper'"),
    ("bench gone.toml", "an existing .toml file"),
    ("bench broken.toml", "valid TOML"),
    ("bench unknown.toml", "did you mean 'instances'"),
    ("bench wrong.toml", "Sweep.instances is -3; allowed: an integer >= 1"),
    ("bench mine.toml --agents gredy", "did you mean 'greedy'"),
    ("bench mine.toml --agents local,,greedy", "names separated by commas"),
    ("bench mine.toml --scenarios tinny", "did you mean 'tiny'"),
    ("bench mine.toml --prompts sideways", "prompt"),
    ("bench mine.toml --data gone.npz", "an existing .npz file"),
    ("bench mine.toml --data are:gone.mat", "an existing .mat file"),
    ("bench mine.toml --data broken.toml", "Instances"),
    ("bench mine.toml --jobs -1", "--jobs is -1"),
    ("bench mine.toml --jobs two", "--jobs"),
    ("bench mine.toml --agent local", "--agents"),
    ("bench mine.toml --out broken.toml", "a folder"),
    ("bench mine.toml --data-folder gone", "--data-folder is 'gone'; allowed: an existing folder"),
    ("bench mine.toml --weights lambo-s", "--weights is 'lambo-s'; allowed: AGENT=PATH"),
    ("bench mine.toml --weights gredy=x", "did you mean 'greedy'"),
    ("bench mine.toml --weights greedy=x", "make_agent('greedy').weights: unknown field"),
    ("render --agent greedy --weights x --out a.txt", "make_agent('greedy').weights"),
    ("report gone", "a folder that `lambo bench` wrote"),
    ("report .", "results.jsonl"),
    ("report foreign", "line 1 is damaged or foreign"),
    ("evaluate gredy", "did you mean 'greedy'"),
    ("evaluate greedy --scenario gone.toml", "an existing .toml file"),
    ("evaluate greedy --prompt nonsense", "prompt"),
    ("evaluate greedy --instances 0", "Sweep.instances is 0"),
    ("scenario show papr", "did you mean 'paper'"),
    ("scenario check broken.toml", "valid TOML"),
    ("scenario check tiny --instances 0", "allowed: an integer >= 1"),
    ("check agent gredy", "did you mean 'greedy'"),
    ("check env LAMBO-MEC-v9", "unknown environment 'LAMBO-MEC-v9'"),
    ("check env Lambo", "unknown environment"),
    ("throughput boats", "agents"),
    ("throughput --budget-s -1", "--budget-s is -1"),
    ("throughput solvers --scenario dense", "unknown scenario of the plan 'dense'"),
    (
        "throughput envs --agents local",
        "--agents is 'local'; allowed: nothing: `envs` does not read it",
    ),
    ("throughput decoding --budget-s 1", "--budget-s is 1.0"),
    ("bench mine.toml --instances five.npz", "is 'five.npz'; allowed: an integer"),
    ("bench mine.toml --instances 0", "Sweep.instances is 0"),
    ("study --empty-names", "--empty-names"),
    ("tune linear-rule --scenarios queue,,queue-light", "names separated by commas"),
    ("tune linear-rule --scenarios queue,papper", "papper"),
    ("completion tcsh", "bash"),
    ("train --seed 2.5", "is '2.5'; allowed: an integer"),
    ("train --device abacus --out gone", "Recipe.device is 'abacus'"),
    ("train --recipe lambo-z --out gone", "unknown recipe 'lambo-z'; did you mean 'lambo-s'"),
    ("train --recipe gone.toml --out gone", "recipe is 'gone.toml'; allowed: valid TOML"),
]


@pytest.mark.parametrize(("line", "words"), BAD)
def test_bad_input_is_one_clear_line(
    scratch: Path, line: str, words: str, capsys: pytest.CaptureFixture[str]
):
    (scratch / "broken.toml").write_text("agents = [")
    (scratch / "unknown.toml").write_text(SWEEP + "instancess = 3\n")
    (scratch / "wrong.toml").write_text(SWEEP.replace("= 3", "= -3"))
    (scratch / "foreign").mkdir()
    (scratch / "foreign" / "results.jsonl").write_text("something else\n")
    before = sorted(scratch.rglob("*"))
    assert cli.main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lambo: error: ") and err.count("\n") == 1
    assert words in err
    assert sorted(scratch.rglob("*")) == before  # no partial state


def test_an_agent_that_raises_makes_exit_code_1(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from baselines.heuristics.local import Local

    monkeypatch.setattr(Local, "decide", lambda *_: 1 / 0)
    assert (
        cli.main(["bench", "mine.toml", "--agents", "local,greedy", "--jobs", "1", "--no-figures"])
        == 1
    )
    assert "local on tiny: FAILED: ZeroDivisionError" in capsys.readouterr().out


def test_an_interrupted_sweep_says_how_to_continue(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from baselines.heuristics.greedy import Greedy

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Greedy, "decide", interrupt)
    line = ["bench", "mine.toml", "--agents", "local,greedy", "--jobs", "1", "--no-figures"]
    assert cli.main(line) == 130
    assert "the same command continues" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(scratch)
    assert cli.main(line) == 0
    assert "3 cells played, 1 kept" in capsys.readouterr().out


def test_help_loads_nothing_heavy():
    code = "import sys; from benchmarks import cli; cli.main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"torch", "scipy", "matplotlib", "numpy", "joblib"} & loaded == set()


def test_every_verb_has_a_help_text_and_a_function():
    import importlib

    for target, text in cli.COMMANDS.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(f"benchmarks.commands.{module}"), name))
        assert text.endswith(".")


@pytest.mark.parametrize("verb", ["droo", "are"])
@pytest.mark.parametrize(
    "kind", ["link", "fifo", "notes", "other weights", "no suffix", "a card of others"]
)
def test_trained_weights_replace_no_link_device_or_file_of_others(
    verb: str,
    kind: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    pytest.importorskip("torch")
    out, victim = tmp_path / "w.safetensors", tmp_path / "victim"
    victim.write_text("precious")
    if kind == "link":
        out.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(out)
    elif kind == "notes":
        out.write_text("precious")
    elif kind == "other weights":
        weights_io.save(out, {}, "another-1", {})
    elif kind == "no suffix":
        out = victim
    card = out.with_suffix(".json")
    if kind == "a card of others":
        card.write_text("{}")
    before = state(tmp_path)
    size = "--labels=10" if verb == "are" else "--slots=10"
    assert cli.main(["train", verb, f"--out={out}", "--scenario=tiny", size]) == 2
    assert str(card if kind == "a card of others" else out) in capsys.readouterr().err
    assert state(tmp_path) == before


def state(folder: Path) -> list[tuple[object, ...]]:
    """Return what would change if a file of a folder were written."""
    files = ((path, path.lstat()) for path in sorted(folder.iterdir()))
    return [(path, stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime) for path, stat in files]


EVIL_SWEEP = """
agents = [{name = "local", label = "[/v2] $x{ \\u001b[31m <b>"}]
scenarios = [{name = "a/../../../victim/pic", base = "tiny"}]
prompts = ["minimum latency"]
instances = 2
"""


def test_no_label_or_scenario_leads_out_of_the_folder_or_ends_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("matplotlib")
    (tmp_path / "victim").mkdir()
    (tmp_path / "evil.toml").write_text(EVIL_SWEEP)
    before = {*tmp_path.rglob("*")}
    assert cli.main(["bench", "evil.toml", "--out=deep/er/run", "--jobs=1"]) == 0
    assert "\x1b" not in "".join(capsys.readouterr())
    new = {*tmp_path.rglob("*")} - before
    assert all(path.is_relative_to(tmp_path / "deep") or "cache" in path.parts for path in new)
    assert len([path for path in new if path.suffix == ".png"]) == 2
    report = (tmp_path / "deep/er/run/report.md").read_text()
    assert "\x1b" not in report and "\\<b>" in report


def test_a_report_replaces_no_file_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    run = ["bench", "sweep.toml", "--out=run", "--agents=local", "--jobs=1", "--no-figures"]
    assert cli.main(run) == 0
    assert cli.main(["report", "run", "--no-figures"]) == 0  # its own
    (tmp_path / "README.md").write_text("precious")
    assert cli.main(["report", "run", "-o", "README.md", "--no-figures"]) == 2
    assert "README.md" in capsys.readouterr().err
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "tiny-minimum-latency.png").write_bytes(b"precious")
    assert cli.main(["report", "run", "-o", "other.md"]) == 2
    assert (tmp_path / "README.md").read_text() == "precious"
    assert (tmp_path / "figures" / "tiny-minimum-latency.png").read_bytes() == b"precious"


def test_without_matplotlib_a_sweep_ends_with_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (tmp_path / "sweep.toml").write_text(SWEEP)
    assert cli.main(["bench", "sweep.toml", "--out=run", "--agents=local", "--jobs=1"]) == 0
    out, error = capsys.readouterr()
    assert "local" in out and 'pip install "lambo-mec[report]"' in error
    assert (tmp_path / "run" / "report.md").is_file()


def test_a_reader_that_leaves_is_no_error():
    code = "import sys; from benchmarks.cli import main; sys.exit(main(['list', 'scenarios']))"
    command = f'"{sys.executable}" -c "{code}" | true; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "0" and done.stderr == ""


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (["train", "droo"], "torch", "torch"),
        (["train", "sb3"], "stable_baselines3", "sb3"),
        (["tune", "sb3"], "optuna", "tune"),
        (["study", "ladder"], "torch", "torch"),
    ],
)
def test_a_missing_extra_is_named(words, module, extra, tmp_path):
    code = f"import sys; sys.modules[{module!r}] = None; from benchmarks import cli; "
    code += f"sys.exit(cli.main({words}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert f'this needs {module}; pip install "lambo-mec[{extra}]"' in done.stderr


@pytest.mark.parametrize("name", registration.list_scenarios())
def test_every_preset_is_shown_as_it_is_read(name, capsys):
    assert cli.main(["scenario", "show", name]) == 0
    shown = tomllib.loads(capsys.readouterr().out)
    assert registration.load_scenario(shown) == registration.load_scenario(name)


def test_help_has_groups_and_no_way_to_empty_a_list(capsys: pytest.CaptureFixture[str]):
    for verb, (target, _) in cli.COMMANDS.items():
        assert cli.main([*verb.split(), "--help"]) == 0, target
        text = capsys.readouterr().out
        assert "--empty" not in text, verb
        grouped = "What is written" in text or "How it is trained" in text
        assert grouped or len(re.findall("│ +--", text)) <= 9, verb


def test_lists_are_separated_by_commas():
    app = cli.build()
    line = "train droo x --others hetero,wide --others=dense"
    _, bound, _ = app.parse_args(line)
    assert bound.arguments["config"].others == ("hetero", "wide", "dense")
    _, bound, _ = app.parse_args(["evaluate", "greedy", "--prompt", "70% latency, 30% energy"])
    assert bound.arguments["prompt"] == ["70% latency, 30% energy"]


def test_completion_knows_every_command_and_works_without_the_extras(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert cli.main(["completion", "bash"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for verb in cli.COMMANDS for word in verb.split())
    assert "--timesteps" in text
    monkeypatch.setitem(cli.COMMANDS, "broken", ("no_such_module:x", "Gone."))
    assert "broken" in cli.build(lazy=False).generate_completion(shell="bash")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--processes", "2"], "Recipe.shards is 1; allowed: a multiple of 2, the processes"),
        (["--processes", "0"], "--processes is 0; allowed: an integer >= 1"),
        (["--shards", "3"], "instances is 32; allowed: a multiple of Recipe.shards (3)"),
        (
            ["--shards", "2", "--processes", "2", "--tensorboard"],
            "allowed: left out with several processes",
        ),
    ],
)
def test_processes_that_cannot_share_a_training_are_refused(
    options: list[str], text: str, scratch: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("torch")
    phase = 'phase = "imitation"\nupdates = 1\n'
    (scratch / "mine.toml").write_text(f'preset = "lambo_xs"\n[[phases]]\n{phase}')
    command = ["train", "--recipe", "mine.toml", "--out", "run", *options]
    assert cli.main(command) == 2
    assert text in capsys.readouterr().err
    assert not (scratch / "run").exists()
