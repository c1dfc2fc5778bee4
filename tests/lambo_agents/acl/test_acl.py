"""The training: it learns, resumes to the same trajectory, and stops where a loss is no number."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lambo_agents.acl import losses
from lambo_agents.acl import run as acl_run
from lambo_agents.acl.config import ACLConfig
from lambo_agents.acl.data import sample_batch, step_rng
from lambo_agents.acl.trainer import Trainer
from lambo_agents.network import checkpoint, decoding
from lambo_agents.registry import make_agent
from lambo_env.prompts import grammar

TINY = ACLConfig(
    pretraining_steps=2,
    pretraining_texts=16,
    preset="lambo_xs", scenario="tiny", num_ues=(4, 8), steps=8, imitation_steps=3,
    instances=8, imitation_instances=8,
    rollouts=3, warmup_steps=2, validation_instances=4, validate_every=3, checkpoint_every=1,
)  # fmt: skip


def quiet(row: dict[str, object]) -> None:
    assert row["step"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "last.safetensors").tensors


@pytest.mark.parametrize("baseline", ["mean", "critic", "both"])
def test_a_training_resumes_to_the_same_trajectory(tmp_path: Path, baseline: str) -> None:
    config = dataclasses.replace(TINY, baseline=baseline)
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
    config = dataclasses.replace(TINY, steps=40, imitation_steps=20)
    code = (
        "import json, sys; from lambo_agents.acl.config import ACLConfig;"
        "from lambo_agents.acl.run import train; "
        "train(ACLConfig.from_dict(json.loads(sys.argv[1])), sys.argv[2], report=lambda row: None)"
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
    config = dataclasses.replace(
        TINY, scenario=str(scenario), varied=0.0, steps=100, imitation_steps=90,
        imitation_instances=128, imitation_orders=1,
        instances=64, rollouts=8, validation_instances=128,
        validate_every=100, checkpoint_every=100, learning_rate=3e-3,
        warmup_steps=10, ema=0.9,
    )  # fmt: skip
    rows: list[dict[str, float]] = []
    acl_run.train(config, tmp_path / "out", report=rows.append)
    assert rows[-1]["gap_latency"] < 11
    assert rows[-1]["gap_energy"] < 22


def test_batches_mix_prompts_modes_and_scenarios() -> None:
    config = ACLConfig(varied=0.5, servers=(2, 8))
    texts, sizes, servers, modes = set(), set(), set(), set()
    for step in range(12):
        batch = sample_batch(config, 16, step_rng(config, step))
        texts |= {weight for weight in batch.prompts.latency_weight}
        sizes.add(batch.instances.num_ues)
        servers.add(batch.instances.num_servers)
        modes |= set(batch.shares.tolist())
        held_out = {
            text
            for kind in ("latency", "energy", "mix")
            for text, _ in grammar.catalogue("held_out", kind)
        }
        assert not held_out & set(batch.prompts.texts)
    assert {0.0, 1.0} < texts
    assert len(texts) > 5
    assert 50 in sizes
    assert len(sizes) > 3
    assert len(servers) > 2
    assert modes == {True, False}


def test_the_guess_keeps_to_what_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policy gradient alone once let the place prior drift, and with it the order of the UEs."""
    config = dataclasses.replace(
        TINY,
        pretraining_steps=0,
        imitation_steps=0,
        share_rows=0.0,
        varied=0.0,
        instances=16,
        steps=160,
        learning_rate=3e-3,
        gradient_rate=1.0,
    )
    trainer = Trainer(config)
    before = _guessed(trainer)
    monkeypatch.setattr(losses, "advantage", torch.zeros_like)  # which leaves the guess' own loss
    for _ in range(160):
        trainer.update()
    assert _guessed(trainer) > before + 0.1


def _guessed(trainer: Trainer) -> float:
    """Mean log-probability of greedy places under the encoder's guess."""
    batch = sample_batch(trainer.config, 32, np.random.default_rng(1))
    slots = decoding.slot(batch.instances, batch.prompts.tokens, False)
    with torch.no_grad():
        plan, slots, _ = decoding.prepare(trainer.actor, slots)
        place = decoding.rollout(trainer.actor, plan, slots).place
        return float(losses.prior_log_prob(plan, slots.need[:, None], place))


def test_a_taught_policy_gradient_has_the_teachers_decision_as_its_last_rollout() -> None:
    """On rows of the closed form; the shares have no teacher."""
    trainer = Trainer(dataclasses.replace(TINY, include_teacher=True), make_agent("local-search"))
    batch = sample_batch(dataclasses.replace(TINY, share_rows=0.5), 16, np.random.default_rng(0))
    slots = decoding.slot(batch.instances, batch.prompts.tokens, batch.shares)
    plan = trainer.actor.plan(trainer.actor.encode(slots.inputs))
    rolled = decoding.rollout(trainer.actor, plan, slots, 3, torch.Generator().manual_seed(0))
    joined = trainer.phases["policy_gradient"].with_teacher(
        batch, slots, rolled, np.random.default_rng(0)
    )
    label = (
        make_agent("local-search")
        .decide(batch.instances, batch.prompts, np.random.default_rng(0))
        .place
    )
    closed = ~batch.shares
    assert joined.place.shape[1] == joined.taken.shape[1] == 4
    assert torch.equal(joined.place[closed, 3], torch.from_numpy(label)[closed])
    assert torch.equal(joined.place[~closed, 3], rolled.place[~closed, 0])
    assert 0 < closed.sum() < 16
    assert trainer.labels == 16


def test_a_taught_policy_gradient_learns_from_an_update() -> None:
    config = dataclasses.replace(
        TINY, pretraining_steps=0, imitation_steps=0, include_teacher=True, varied=0.0
    )
    trainer = Trainer(config, make_agent("local-search"))
    before = {name: weight.clone() for name, weight in trainer.actor.state_dict().items()}
    assert np.isfinite(trainer.update()["loss"])
    assert any(
        not torch.equal(before[name], weight) for name, weight in trainer.actor.state_dict().items()
    )
    assert (trainer.labels, trainer.rollouts) == (8, 24)


def test_varied_batches_span_the_ranges_evenly_on_a_logarithmic_scale() -> None:
    config = ACLConfig(num_ues=(6, 200))
    sizes = [
        config.relative(config.base, np.random.default_rng(seed)).num_ues for seed in range(400)
    ]
    assert min(sizes) < 9
    assert max(sizes) > 160
    assert 25 < np.median(sizes) < 50  # the geometric mean is 35


def test_a_step_draws_the_same_whenever_it_is_asked() -> None:
    config = ACLConfig(num_ues=(20, 80))
    one, two = (sample_batch(config, 4, step_rng(config, 7)) for _ in range(2))
    assert np.array_equal(one.instances.uplink_bps, two.instances.uplink_bps)
    assert one.prompts == two.prompts
    assert config.relative(config.base, np.random.default_rng(0)).num_ues in range(20, 81)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"preset": "lambo_q"}, "unknown AED preset"),
        (
            {"rollouts": 1},
            "ACLConfig.rollouts is 1; allowed: >= 2 where their mean is the baseline",
        ),
        ({"baseline": "median"}, "ACLConfig.baseline"),
        ({"varied": 1.5}, "ACLConfig.varied"),
        ({"num_ues": (9, 3)}, "ACLConfig.num_ues"),
        ({"learning_rate": 0.0}, "ACLConfig.learning_rate"),
        ({"minutes": -1.0}, "ACLConfig.minutes"),
        ({"layers": (0, 1)}, "ACLConfig.layers is"),
        ({"layers": (2.0, 1)}, "ACLConfig.layers is"),
        ({"kinds": ("delay",)}, "ACLConfig.kinds is"),
        ({"kinds": ()}, "ACLConfig.kinds is"),
        ({"shuffled": 1}, "ACLConfig.shuffled is"),
    ],
)
def test_a_bad_config_says_what_is_wrong(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ACLConfig(**fields)


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, steps=1)
    acl_run.train(config, tmp_path, report=quiet)
    with pytest.raises(ValueError, match=r"seed is 1; allowed: 0, as in "):
        acl_run.train(dataclasses.replace(config, seed=1), tmp_path, report=quiet)
    with pytest.raises(ValueError, match="resume=True"):
        acl_run.train(config, tmp_path, resume=False, report=quiet)


def test_layers_kinds_and_order_are_what_a_training_was_told() -> None:
    config = dataclasses.replace(
        TINY, layers=(1, 2), kinds=("energy",), shuffled=False, imitation_orders=2
    )
    shape = config.network()
    assert (shape.encoder_layers, shape.decoder_layers) == (1, 2)
    batch = sample_batch(config, 16, np.random.default_rng(0))
    assert set(batch.prompts.latency_weight.tolist()) == {0.0}
    trainer = Trainer(config, make_agent("local-search"))
    assert len(trainer.actor.encoder) == 1
    assert len(trainer.actor.decoder) == 2
    for _ in range(config.pretraining_steps + config.imitation_steps + 1):
        assert np.isfinite(trainer.update()["loss"])
    assert ACLConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("fault", ["another preset", "not finite"])
def test_weights_to_start_from_are_of_this_network(tmp_path: Path, fault: str) -> None:
    start = tmp_path / "start.safetensors"
    trainer = Trainer(
        dataclasses.replace(TINY, preset="lambo_s") if fault == "another preset" else TINY
    )
    broken = {name: weight * float("nan") for name, weight in trainer.mean.items()}
    checkpoint.save(
        start, trainer.mean if fault == "another preset" else broken, trainer.actor.config
    )
    with pytest.raises(
        ValueError, match="ACLConfig.start is .*start.safetensors'; allowed: (weights of|finite)"
    ):
        Trainer(dataclasses.replace(TINY, start=str(start)))


def test_a_training_starts_from_weights_whose_reader_is_another(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    donor = Trainer(dataclasses.replace(TINY, seed=5))
    kept = {name: weight for name, weight in donor.mean.items() if "reader" not in name}
    assert len(kept) < len(donor.mean)
    checkpoint.save(start, kept, donor.actor.config)
    begun = Trainer(dataclasses.replace(TINY, start=str(start))).actor.state_dict()
    assert all(torch.equal(begun[name], weight) for name, weight in kept.items())


@pytest.mark.parametrize("device", ["abacus", "meta", "cuda:99", ""])
def test_a_device_that_is_none_is_named(device: str) -> None:
    with pytest.raises(
        ValueError, match=f"ACLConfig.device is '{device}'; allowed: a device of torch"
    ):
        Trainer(dataclasses.replace(TINY, device=device))


def test_a_training_leaves_tiny_numbers_as_they_were(tmp_path: Path) -> None:
    acl_run.train(dataclasses.replace(TINY, steps=4), tmp_path, report=quiet)
    assert np.float64(5e-324) * np.float64(1) > 0  # not flushed to zero once it is over
