"""Every page of the documentation works.

Its code runs, its commands exist, what is generated is current.
"""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import gymnasium as gym
import pytest
from doc_blocks import ROOT, Page, blocks

import lambo_env  # noqa: F401 (registers the ids)
from benchmarks import cli
from benchmarks.studies import environment_scores
from lambo_agents import registry
from lambo_env.registration import ENVIRONMENTS

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not {"_build", "templates"} & set(path.parts))
TUTORIALS = (
    "first-episode",
    "train-with-sb3",
    "train-lambo",
    "your-agent",
    "your-scenario",
    "figures-5-and-6",
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_blocks_of_the_page_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "_in_code", {})  # what a page registers ends with it
    Page(path, tmp_path).run()


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_is_made_of_code_that_runs(name: str):
    found = blocks((DOCS / "tutorials" / f"{name}.md").read_text(encoding="utf-8"))
    assert any(block.kind == "python" and not block.left_out for block in found)


def test_the_agents_page_has_a_section_for_every_agent():
    text = (DOCS / "agents.md").read_text(encoding="utf-8")
    assert [name for name in registry.list_agents() if f"\n### `{name}`" not in text] == []


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_environment_pages_are_the_generated_ones(generate: ModuleType):
    scores = json.loads(generate.SCORES.read_text(encoding="utf-8"))
    for name, text in generate.pages(scores).items():
        assert (generate.FOLDER / name).read_text(encoding="utf-8") == text, (
            f"{name}: run python docs/generate.py"
        )


def test_every_id_has_a_table_of_its_observations_columns(generate: ModuleType):
    for name, row in ENVIRONMENTS.items():
        if row.error is None:
            text = (generate.FOLDER / f"{name}.md").read_text(encoding="utf-8")
            assert "| column |" in text.partition("## Observation")[2].partition("\n## ")[0], name


def test_the_page_of_the_commands_is_the_generated_one(generate: ModuleType):
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert text == generate.commands(), "run python docs/generate.py"
    assert all(f"# lambo {verb}\n" in text for verb in cli.COMMANDS)


def test_leaderboard_and_examples_are_the_generated_ones(generate: ModuleType):
    for name, page in (
        ("leaderboard", generate.leaderboard_page),
        ("examples", generate.examples_page),
    ):
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        assert text == page(), "run python docs/generate.py"
    assert "| |" not in generate.examples_page()  # each says what it shows


def test_every_registered_environment_has_a_page(generate: ModuleType):
    ids = {name for name in gym.registry if name.startswith("LAMBO-")}
    scores = json.loads(generate.SCORES.read_text(encoding="utf-8"))
    assert {f"{name}.md" for name in ids} == set(generate.pages(scores)) - {
        "index.md",
        "scenario-fields.md",
    }
    unscored = {"LAMBO-MEC-Drift-v0", "LAMBO-MEC-Queue-v0"}
    assert ids - unscored == set(environment_scores.IDS)  # have reference scores


@pytest.mark.slow
def test_reference_scores_are_what_the_code_gives(generate: ModuleType):
    kept = json.loads(generate.SCORES.read_text(encoding="utf-8"))
    for env_id, scores in environment_scores.measure_offloading(("tiny",)).items():
        for text, lines in scores["tiny"].items():
            for player, line in lines.items():
                old = kept[env_id]["tiny"][text][player]
                assert line["cost"] == pytest.approx(old["cost"], rel=1e-4), (env_id, text, player)
                assert line["late_percent"] == old["late_percent"], (env_id, text, player)


def test_reference_rates_are_what_the_code_gives(generate: ModuleType):
    for player, line in environment_scores.measure_wpmec().items():
        kept = json.loads(generate.SCORES.read_text(encoding="utf-8"))[environment_scores.WPMEC][
            player
        ]
        assert line["mbps"] == pytest.approx(kept["mbps"], rel=1e-5), player
