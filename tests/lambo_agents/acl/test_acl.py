"""The training: it learns, resumes to the same trajectory, and stops where a loss is no number."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lambo_agents.acl import losses
from lambo_agents.acl import run as acl_run
from lambo_agents.acl.config import RECIPES, Recipe, World, list_recipes
from lambo_agents.acl.data import sample_batch, update_rng
from lambo_agents.acl.phases import READER
from lambo_agents.acl.stages import GradientStage
from lambo_agents.acl.trainer import Trainer
from lambo_agents.network import checkpoint, decoding
from lambo_agents.reading import by_rules
from lambo_agents.registry import make_agent
from lambo_env.offloading.scenario import load_scenario

READING = {"phase": "reading", "updates": 2, "texts": 16, "warmup_updates": 1}
IMITATION = {"phase": "imitation", "updates": 3, "instances": 8, "warmup_updates": 2}
GRADIENT = {"phase": "policy_gradient", "updates": 3, "instances": 8, "rollouts": 3}
TINY = Recipe(
    phases=(READING, IMITATION, GRADIENT),
    worlds=({"scenario": "tiny"}, {"scenario": "paper", "num_ues": (4, 8)}),
    preset="lambo_xs", scenario="tiny",
    validation_instances=4, validate_every=3, checkpoint_every=1,
)  # fmt: skip


def deciding(**fields: object) -> Recipe:
    """Return a tiny recipe of the policy gradient alone."""
    return TINY.replace(phases=(GRADIENT | fields,), worlds=({"scenario": "tiny"},))


def quiet(row: dict[str, object]) -> None:
    assert row["step"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "last.safetensors").tensors


@pytest.mark.parametrize("baseline", ["mean", "critic", "both"])
def test_a_training_resumes_to_the_same_trajectory(tmp_path: Path, baseline: str) -> None:
    config = TINY.replace(baseline=baseline)
    acl_run.train(config, tmp_path / "whole", report=quiet)
    rows = 0

    def stop_midway(row: dict[str, object]) -> None:
        nonlocal rows
        rows += 1
        if rows == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        acl_run.train(config, tmp_path / "parts", report=stop_midway)
    acl_run.train(config, tmp_path / "parts", report=quiet)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert set(whole) == set(parts)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_trajectory(tmp_path: Path) -> None:
    config = TINY.replace(phases=(READING, IMITATION | {"updates": 18}, GRADIENT | {"updates": 20}))
    code = (
        "import json, sys; from lambo_agents.acl.config import Recipe;"
        "from lambo_agents.acl.run import train; "
        "train(Recipe.from_dict(json.loads(sys.argv[1])), sys.argv[2], report=lambda row: None)"
    )
    command = [sys.executable, "-c", code, json.dumps(config.to_dict()), str(tmp_path / "parts")]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    last = tmp_path / "parts" / "last.safetensors"
    while not last.exists() or checkpoint.load(last).meta["clock"]["step"] < 10:
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.load(last).meta["clock"]["step"] < 40
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    subprocess.run(
        [*command[:-1], str(tmp_path / "whole")],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_loss_that_is_no_number_stops_the_training_at_a_named_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = losses.score

    def poisoned(aed: object, *args: object) -> losses.Scored:
        scored = score(aed, *args)
        broken = scored.log_prob * float("nan") if len(calls) == 4 else scored.log_prob
        calls.append(1)
        return scored._replace(log_prob=broken)

    calls: list[int] = []
    monkeypatch.setattr(losses, "score", poisoned)
    with pytest.raises(FloatingPointError, match=r"step 6: loss nan.*last\.safetensors"):
        acl_run.train(TINY, tmp_path, report=quiet)
    loaded = checkpoint.load(tmp_path / "last.safetensors")
    assert loaded.meta["clock"]["step"] == 6
    assert all(bool(value.isfinite().all()) for value in loaded.tensors.values())


@pytest.mark.slow
def test_it_learns_a_toy(tmp_path: Path) -> None:
    """Six UEs, two servers.

    All local is 16 % (latency) and 44 % (energy) above the local search, this network about 7 % and
    13 %.
    """
    scenario = tmp_path / "toy.toml"
    scenario.write_text("num_ues = 6\nserver_cpu_hz = [4e9, 8e9]\n")
    rate = {"learning_rate": 3e-3, "warmup_updates": 10}
    recipe = TINY.replace(
        scenario=str(scenario),
        worlds=({"scenario": str(scenario)},),
        phases=(
            READING,
            IMITATION | rate | {"updates": 90, "instances": 64, "orders": 1},
            GRADIENT | {"updates": 10, "instances": 32, "rollouts": 8},
        ),
        validation_instances=128,
        validate_every=100,
        checkpoint_every=100,
        ema=0.9,
    )
    rows: list[dict[str, float]] = []
    acl_run.train(recipe, tmp_path / "out", report=rows.append)
    assert rows[-1]["gap_latency"] < 11
    assert rows[-1]["gap_energy"] < 22


def test_batches_mix_weights_modes_and_worlds() -> None:
    recipe = TINY.replace(
        worlds=({"scenario": "paper"}, {"num_ues": (6, 200), "servers": (2, 8), "share": 3})
    )
    texts, sizes, servers, modes = set(), set(), set(), set()
    for step in range(12):
        batch = sample_batch(recipe, GradientStage(updates=1), update_rng(recipe, step))
        texts |= {weight for weight in batch.prompts.latency_weight}
        sizes.add(batch.instances.num_ues)
        servers.add(batch.instances.num_servers)
        modes |= set(batch.shares.tolist())
    assert {0.0, 1.0} < texts
    assert len(texts) > 5
    assert 50 in sizes
    assert len(sizes) > 3
    assert len(servers) > 2
    assert modes == {True, False}


def test_the_guess_keeps_to_what_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policy gradient alone once let the place prior drift, and with it the order of the UEs."""
    recipe = deciding(share_rows=0.0, instances=10, updates=160, learning_rate=3e-3)
    trainer = Trainer(recipe)
    before = _guessed(trainer)
    monkeypatch.setattr(losses, "advantage", torch.zeros_like)  # which leaves the guess' own loss
    for _ in range(160):
        trainer.update()
    assert _guessed(trainer) > before + 0.1


def _guessed(trainer: Trainer) -> float:
    """Mean log-probability of greedy places under the encoder's guess."""
    stage = GradientStage(updates=1, instances=16)
    batch = sample_batch(trainer.recipe, stage, np.random.default_rng(1))
    slots = decoding.slot(batch.instances, batch.prompts.tokens, False)
    with torch.no_grad():
        plan, slots, _ = decoding.prepare(trainer.actor, slots)
        place = decoding.rollout(trainer.actor, plan, slots).place
        return float(losses.prior_log_prob(plan, slots.need[:, None], place))


def test_a_taught_policy_gradient_has_the_teachers_decision_as_its_last_rollout() -> None:
    """On rows of the closed form; the shares have no teacher."""
    recipe = deciding(include_teacher=True, share_rows=0.5)
    trainer = Trainer(recipe, make_agent("local-search"))
    (stage, phase), rng = trainer.phases[0], np.random.default_rng(0)
    batch = sample_batch(recipe, stage, rng)
    slots = decoding.slot(batch.instances, batch.prompts.tokens, batch.shares)
    plan = trainer.actor.plan(trainer.actor.encode(slots.inputs))
    rolled = decoding.rollout(trainer.actor, plan, slots, 3, torch.Generator().manual_seed(0))
    joined = phase.with_teacher(batch, slots, rolled, np.random.default_rng(0))
    label = (
        make_agent("local-search")
        .decide(batch.instances, batch.prompts, np.random.default_rng(0))
        .place
    )
    closed = ~batch.shares
    assert joined.place.shape[1] == joined.taken.shape[1] == 4
    assert torch.equal(joined.place[closed, 3], torch.from_numpy(label)[closed])
    assert torch.equal(joined.place[~closed, 3], rolled.place[~closed, 0])
    assert 0 < closed.sum() < len(closed)
    assert trainer.labels == len(closed)


def test_a_taught_policy_gradient_learns_from_an_update() -> None:
    recipe = deciding(include_teacher=True, regret_weight=1.0)
    trainer = Trainer(recipe, make_agent("local-search"))
    before = {name: weight.clone() for name, weight in trainer.actor.state_dict().items()}
    assert np.isfinite(trainer.update()["loss"])
    assert any(
        not torch.equal(before[name], weight) for name, weight in trainer.actor.state_dict().items()
    )
    assert (trainer.labels, trainer.rollouts) == (16, 48)  # small instances: twice as many


def test_worlds_are_drawn_by_their_shares_and_within_their_ranges() -> None:
    worlds = (
        World(share=3),
        World(scenario="hetero", num_ues=(20, 30), servers=(2, 3), data_scale=(2.0, 2.0)),
    )
    recipe, stage = TINY.replace(worlds=worlds), GradientStage(updates=1, instances=4)
    batches = [sample_batch(recipe, stage, update_rng(recipe, step)) for step in range(200)]
    plain = [batch for batch in batches if batch.instances.num_ues == 50]
    assert 130 < len(plain) < 170
    others = [batch.instances for batch in batches if batch.instances.num_ues != 50]
    assert {each.num_servers for each in others} == {2, 3}
    assert {each.num_ues for each in others} <= set(range(20, 31))
    assert min(each.data_bits.min() for each in others) >= 2 * load_scenario("hetero").data_bits[0]


def test_a_network_with_meanings_is_told_weights_a_reading_one_gets_texts() -> None:
    rng = np.random.default_rng(0)
    told = sample_batch(TINY, GradientStage(updates=1, instances=64), rng).prompts
    # a teacher that goes by the text alone reads the same weights
    read = [by_rules(text) for text in told.texts]
    assert np.allclose(read, [(weight, 1.0) for weight in told.latency_weight], atol=1e-7)
    pure = [np.mean(told.latency_weight == end) for end in (0, 1)]
    assert min(pure) > 0.2
    assert sum(pure) < 0.8
    phases, worlds = (IMITATION,), ({"scenario": "tiny"},)
    literal = TINY.replace(preset="lambo_m", worlds=worlds, phases=phases)
    assert len(set(sample_batch(literal, GradientStage(updates=1), rng).prompts.texts)) > 10


def test_an_update_draws_the_same_whenever_it_is_asked() -> None:
    stage = GradientStage(updates=1, instances=4)
    one, two = (sample_batch(TINY, stage, update_rng(TINY, 7)) for _ in range(2))
    assert np.array_equal(one.instances.uplink_bps, two.instances.uplink_bps)
    assert one.prompts == two.prompts


def test_reading_and_deciding_change_nothing_about_each_other() -> None:
    """So either can be trained anew, and the other's weights stay as they are."""
    ends = []
    for phases in (
        (READING, IMITATION, GRADIENT),
        (IMITATION, GRADIENT, READING),
        (IMITATION, GRADIENT),
        (READING,),
    ):
        trainer = Trainer(TINY.replace(phases=phases), make_agent("local-search"))
        for _ in range(trainer.recipe.updates):
            trainer.update()
        ends.append(trainer.mean)
    first, last, without, alone = ends
    for name, weight in first.items():
        assert torch.equal(weight, last[name]), name
        assert torch.equal(weight, (alone if name.startswith(READER) else without)[name]), name


def test_the_paper_form_trains_by_the_same_phases() -> None:
    network = {"d_model": 8, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    recipe = TINY.replace(
        preset="lambo_m",
        network=network | {"encoder_ff": 8, "decoder_ff": 8},
        worlds=({"scenario": "tiny"},),
        phases=(IMITATION, GRADIENT | {"regret_weight": 1.0}),
    )
    trainer = Trainer(recipe, make_agent("local-search"))
    for _ in range(recipe.updates):
        assert np.isfinite(trainer.update()["loss"])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"preset": "lambo_q"}, "unknown AED preset"),
        (
            {"phases": (GRADIENT | {"rollouts": 1},)},
            r"phases\[0\].rollouts is 1; allowed: >= 2 where their mean is the baseline",
        ),
        (
            {"preset": "lambo_m"},
            r"phases\[0\].phase is 'reading'; allowed: a phase that decides: this network has no",
        ),
        ({"baseline": "median"}, "Recipe.baseline"),
        ({"phases": ()}, r"Recipe.phases is \(\); allowed: one table or more"),
        ({"phases": "reading"}, "Recipe.phases is 'reading'; allowed: one table or more"),
        (
            {"phases": ({"phase": "readin", "updates": 1},)},
            r"unknown phase in Recipe.phases\[0\] 'readin'; did you mean 'reading'\?",
        ),
        ({"phases": ({"updates": 1},)}, r"unknown phase in Recipe.phases\[0\] None"),
        (
            {"phases": (READING, READING | {"updates": -1})},
            r"phases\[1\]: ReadingStage.updates is -1; allowed: an integer >= 1",
        ),
        (
            {"phases": ({"phase": "reading"},)},
            r"phases\[0\]: ReadingStage.updates is None; allowed: an integer",
        ),
        (
            {"phases": (READING | {"rollouts": 2},)},
            r"phases\[0\]: ReadingStage.rollouts: unknown field; known: final_rate",
        ),
        ({"phases": (READING | {"learning_rate": 0.0},)}, "ReadingStage.learning_rate is 0.0"),
        ({"phases": (IMITATION | {"shuffled": 1},)}, "ImitationStage.shuffled is 1"),
        ({"phases": (IMITATION | {"share_rows": 1.5},)}, "ImitationStage.share_rows is 1.5"),
        ({"worlds": ({"num_ues": (9, 3)},)}, r"worlds\[0\]: World.num_ues is \(9, 3\)"),
        ({"worlds": ({"num_ues": (2.5, 3)},)}, r"World.num_ues is \(2.5, 3\); allowed: .*integers"),
        ({"worlds": ({"num_ues": ("a", 3)},)}, r"World.num_ues is \('a', 3\)"),
        ({"worlds": ({"share": -1},)}, r"worlds\[0\]: World.share is -1"),
        ({"worlds": ({"share": 0},)}, r"Recipe.worlds is .*; allowed: at least one"),
        (
            {"phases": (IMITATION | {"world_shares": (1, 1)},)},
            r"phases\[0\].world_shares is \(1.0, 1.0\)",
        ),
        (
            {"phases": (IMITATION | {"world_shares": (0,)},)},
            r"ImitationStage.world_shares is \(0,\)",
        ),
        ({"phases": (IMITATION | {"world_shares": (-1,)},)}, r"world_shares\[0\] is -1"),
        ({"phases": (IMITATION | {"kinds": ()},)}, r"ImitationStage.kinds is"),
        ({"worlds": ({"scale": 1},)}, r"worlds\[0\]: World.scale: unknown field"),
        ({"network": {"encoder_layers": 0}}, "AEDConfig.encoder_layers is 0"),
        ({"network": {"layers": 2}}, "AEDConfig.layers: unknown field"),
        ({"kinds": ("delay",)}, "Recipe.kinds is"),
        ({"kinds": ()}, "Recipe.kinds is"),
        ({"seed": -1}, "Recipe.seed is -1"),
        ({"seed": 2**64}, "Recipe.seed is 18446744073709551616; allowed: an integer from 0 to"),
        ({"minutes": 3}, "Recipe.minutes: unknown field"),
    ],
)
def test_a_bad_recipe_says_what_is_wrong(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Recipe.from_dict({"phases": (READING,), **fields})


def test_a_phase_may_have_worlds_and_prompts_of_its_own() -> None:
    recipe = Recipe.from_dict(
        {
            "worlds": ({"num_ues": (5, 5)}, {"num_ues": (7, 7), "share": 0}),
            "kinds": ("latency", "mix"),
            "phases": (IMITATION, IMITATION | {"world_shares": (0, 1), "kinds": ("energy",)}),
            "preset": "lambo_xs",
        }
    )
    for stage, num_ues in zip(recipe.phases, (5, 7), strict=True):
        batch = sample_batch(recipe, stage, np.random.default_rng(0))
        assert batch.instances.num_ues == num_ues
        assert (batch.prompts.latency_weight == 0).all() == (num_ues == 7)


def test_a_recipe_is_a_shipped_name_or_a_file(tmp_path: Path) -> None:
    assert "lambo-s" in list_recipes()
    for name in list_recipes():
        assert Recipe.load(name, seed=3) == Recipe.load(RECIPES / f"{name}.toml").replace(seed=3)
    with pytest.raises(ValueError, match="unknown recipe 'lambo-z'; did you mean 'lambo-s'"):
        Recipe.load("lambo-z")
    broken = tmp_path / "broken.toml"
    broken.write_text("phases = [")
    with pytest.raises(ValueError, match="recipe is .*broken.toml'; allowed: valid TOML"):
        Recipe.load(broken)
    with pytest.raises(ValueError, match="recipe is .*absent.toml'"):
        Recipe.load(tmp_path / "absent.toml")
    broken.write_text("seed = 1")
    with pytest.raises(ValueError, match="Recipe.phases"):
        Recipe.load(broken)


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    config = TINY.replace(phases=(READING | {"updates": 1},))
    acl_run.train(config, tmp_path, report=quiet)
    with pytest.raises(ValueError, match=r"seed is 1; allowed: 0, as in "):
        acl_run.train(config.replace(seed=1), tmp_path, report=quiet)
    longer = config.replace(phases=(READING | {"updates": 2},))
    with pytest.raises(ValueError, match=r"phases\[0\]\.updates is 2; allowed: 1, as in "):
        acl_run.train(longer, tmp_path, report=quiet)
    with pytest.raises(ValueError, match="resume=True"):
        acl_run.train(config, tmp_path, resume=False, report=quiet)


def test_a_folder_of_before_there_were_shards_goes_on(tmp_path: Path) -> None:
    config = TINY.replace(phases=(READING | {"updates": 1},))
    acl_run.train(config, tmp_path, report=quiet)
    options = json.loads((tmp_path / "run.json").read_text())
    for name in ("shards", "deep", "recompute", "workers"):
        del options[name]
    (tmp_path / "run.json").write_text(json.dumps(options))
    with pytest.raises(ValueError, match="shards is 2; allowed: 1, as in"):
        acl_run.train(config.replace(shards=2), tmp_path, report=quiet)
    with pytest.raises(ValueError, match="deep is True; allowed: False, as in"):
        acl_run.train(config.replace(deep=True), tmp_path, report=quiet)
    acl_run.train(config, tmp_path, report=quiet)


def test_a_log_and_tellers_hear_what_happened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = []
    recipe = TINY.replace(phases=(READING, GRADIENT | {"updates": 4}))
    acl_run.train(recipe, tmp_path, tellers=[rows.append])
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if "gap_latency" in row] == [3, 6]
    shown = capsys.readouterr().out
    assert shown == (tmp_path / "train.log").read_text()
    lines = [line.split(",")[0] for line in shown.splitlines() if not line.startswith(" ")]
    assert lines == [
        "update 1/6 reading",
        "update 3/6 policy_gradient",
        "update 6/6 policy_gradient",
    ]
    assert "gap %: latency " in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


def test_phases_to_come_may_change_and_a_steady_one_may_last_longer(tmp_path: Path) -> None:
    """The end is that of a training that was told so from the beginning."""
    steady = IMITATION | {"final_rate": 1e-3, "updates": 2}
    short, longer = (
        TINY.replace(phases=phases)
        for phases in ((READING, steady), (READING, steady | {"updates": 3}, GRADIENT))
    )
    acl_run.train(short, tmp_path / "parts", report=quiet)
    acl_run.train(longer, tmp_path / "parts", report=quiet)
    acl_run.train(longer, tmp_path / "whole", report=quiet)
    whole, parts = (tmp_path / name / "last.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    for phases, text in (
        ((READING, steady, GRADIENT), r"phases\[1\].updates is 2; allowed: 3"),
        ((READING, steady | {"updates": 3}), "phases is 2; allowed: 3"),
        (
            (READING, steady | {"updates": 3}, GRADIENT | {"updates": 4}),
            r"phases\[2\].updates is 4; allowed: 3",
        ),
    ):
        with pytest.raises(ValueError, match=text):
            acl_run.train(TINY.replace(phases=phases), tmp_path / "parts", report=quiet)


def test_a_recipe_that_ends_where_an_unfinished_training_stands_is_refused(tmp_path: Path) -> None:
    """Its weights would be those of an earlier measurement, or of a later one."""
    steady = IMITATION | {"final_rate": 1e-3, "updates": 4}
    whole, ended = (TINY.replace(phases=(steady | {"updates": n},)) for n in (4, 2))

    def stop(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        acl_run.train(whole, tmp_path, report=quiet, tellers=[stop])
    with pytest.raises(ValueError, match="updates of all phases is 2; allowed: > 2, those that"):
        acl_run.train(ended, tmp_path, report=quiet)
    acl_run.train(whole, tmp_path, report=quiet)
    acl_run.train(whole, tmp_path, report=quiet)


def test_a_checkpoint_that_is_no_trainings_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes((checkpoint.WEIGHTS / "lambo-xs.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"checkpoint is .*last\.safetensors'; allowed: that of"):
        acl_run.train(TINY, tmp_path, report=quiet)


def test_layers_kinds_and_order_are_what_a_training_was_told() -> None:
    recipe = TINY.replace(
        network={"encoder_layers": 1, "decoder_layers": 2},
        kinds=("energy",),
        phases=(READING, IMITATION | {"shuffled": False}, GRADIENT | {"shuffled": False}),
    )
    batch = sample_batch(recipe, recipe.phases[1], np.random.default_rng(0))
    assert set(batch.prompts.latency_weight.tolist()) == {0.0}
    trainer = Trainer(recipe, make_agent("local-search"))
    assert len(trainer.actor.encoder) == 1
    assert len(trainer.actor.decoder) == 2
    for _ in range(6):
        assert np.isfinite(trainer.update()["loss"])
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize("fault", ["another preset", "not finite"])
def test_weights_to_start_from_are_of_this_network(tmp_path: Path, fault: str) -> None:
    start = tmp_path / "start.safetensors"
    trainer = Trainer(TINY.replace(preset="lambo_s") if fault == "another preset" else TINY)
    broken = {name: weight * float("nan") for name, weight in trainer.mean.items()}
    checkpoint.save(
        start, trainer.mean if fault == "another preset" else broken, trainer.actor.config
    )
    with pytest.raises(
        ValueError, match="Recipe.start is .*start.safetensors'; allowed: (weights of|finite)"
    ):
        Trainer(TINY.replace(start=str(start)))


def test_a_training_starts_from_weights_whose_reader_is_another(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    donor = Trainer(TINY.replace(seed=5))
    kept = {name: weight for name, weight in donor.mean.items() if "reader" not in name}
    assert len(kept) < len(donor.mean)
    checkpoint.save(start, kept, donor.actor.config)
    begun = Trainer(TINY.replace(start=str(start))).actor.state_dict()
    assert all(torch.equal(begun[name], weight) for name, weight in kept.items())


@pytest.mark.parametrize("device", ["abacus", "meta", "cuda:99", ""])
def test_a_device_that_is_none_is_named(device: str) -> None:
    with pytest.raises(
        ValueError, match=f"Recipe.device is '{device}'; allowed: a device of torch"
    ):
        Trainer(TINY.replace(device=device))


def test_a_training_leaves_tiny_numbers_as_they_were(tmp_path: Path) -> None:
    acl_run.train(TINY, tmp_path, report=quiet)
    assert np.float64(5e-324) * np.float64(1) > 0  # not flushed to zero once it is over
