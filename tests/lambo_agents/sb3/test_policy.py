"""The AED as an SB3 policy.

The same decisions as LAMBO's own decoding, a hybrid density that integrates to one, weights both
ways.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO

from baselines.sb3.vec_env import as_sb3
from lambo_agents.adapter import PolicyAgent
from lambo_agents.agent import LamboAgent
from lambo_agents.network import decoding
from lambo_agents.network.aed import AED
from lambo_agents.network.config import AEDConfig, lambo_xs
from lambo_agents.sb3 import history
from lambo_agents.sb3.policy import AEDPolicy, MaskableAEDPolicy
from lambo_env.envs.actions import decode_action, encode_action
from lambo_env.offloading import instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

JOINT, ASSOCIATION = "LAMBO-MEC-v0", "LAMBO-MEC-Association-v0"
PAPERS = dict(
    d_model=16, num_heads=2, encoder_layers=1, decoder_layers=2, encoder_ff=32, decoder_ff=32
)
CONFIGS = {"pointer": lambo_xs().to_dict(), "paper's": AEDConfig(**PAPERS).to_dict()}
SMALL: dict[str, Any] = dict(n_steps=6, device="cpu", seed=0)


@pytest.fixture(params=CONFIGS, ids=str)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CONFIGS[request.param]


def stirred(aed: AED) -> AED:
    """A network whose decisions are not all alike."""
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in aed.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return aed.eval()


def model(algorithm: Any, env_id: str, config: Any, scenario: str = "tiny") -> Any:
    policy = MaskableAEDPolicy if algorithm is MaskablePPO else AEDPolicy
    env = as_sb3(env_id, 4, scenario=scenario)
    batches = {} if algorithm is A2C else {"batch_size": 12, "n_epochs": 1}
    return algorithm(policy, env, policy_kwargs={"aed": config}, **SMALL, **batches)


def problem(scenario: str, batch: int = 6) -> tuple[instances.Instances, Prompts]:
    rng = np.random.default_rng(5)
    return sample_instances(load_scenario(scenario), batch, rng), Prompts.sample(batch, rng)


@pytest.mark.parametrize("scenario", ["tiny", "hetero"])
@pytest.mark.parametrize(
    ("algorithm", "env_id"), [(PPO, JOINT), (PPO, ASSOCIATION), (MaskablePPO, ASSOCIATION)]
)
def test_decisions_are_those_of_lambos_decoding(
    algorithm: Any, env_id: str, config: Any, scenario: str
):
    sb3 = model(algorithm, env_id, config, scenario)
    aed, shares = stirred(sb3.policy.aed), env_id == JOINT
    given, prompts = problem(scenario)
    slots = decoding.slot(given, prompts.tokens, shares)
    with torch.no_grad():
        rollout = decoding.rollout(aed, aed.plan(aed.encode(slots.inputs)), slots)
    played = PolicyAgent(sb3, env_id).decide(given, prompts, np.random.default_rng(0))
    np.testing.assert_array_equal(played.place, rollout.place[:, 0].numpy())
    assert len(np.unique(played.place)) > 1
    if shares:
        cpu = decoding.cpu_hz(given, played.place, rollout.taken[:, 0].numpy())
        np.testing.assert_allclose(played.cpu_hz, cpu, rtol=1e-4, atol=1e4)


def test_the_agent_decides_the_same_on_ues_in_its_own_order(config: Any):
    sb3 = model(A2C, JOINT, config)
    aed = stirred(sb3.policy.aed)
    given, prompts = problem("tiny")
    with torch.no_grad():
        _, _, order = decoding.prepare(aed, decoding.slot(given, prompts.tokens, True))
    given = given.order(order.numpy())
    agent = LamboAgent(aed, allocation="share", reading="network")
    ours = agent.decide(given, prompts, np.random.default_rng(0))
    theirs = PolicyAgent(sb3, JOINT).decide(given, prompts, np.random.default_rng(0))
    np.testing.assert_array_equal(ours.place, theirs.place)
    np.testing.assert_allclose(ours.cpu_hz, theirs.cpu_hz, rtol=1e-4, atol=1e4)


def observations(
    env_id: str, steps: int, num_envs: int = 3, scenario: str = "hetero"
) -> tuple[dict[str, Any], Any]:
    """Shuffled observations of ``steps`` steps of random legal play, and the masks."""
    env, rng = as_sb3(env_id, num_envs, scenario=scenario), np.random.default_rng(0)
    env.seed(3)
    seen, rows, masks = env.reset(), [], []
    for _ in range(steps):
        mask = np.stack(env.env_method("action_masks"))
        rows.append(seen)
        masks.append(mask)
        place = (rng.random(mask.shape) * mask).argmax(1)
        action = encode_action(place, 0.2 * rng.random(num_envs), 4) if env_id == JOINT else place
        seen, *_ = env.step(action)
    order = rng.permutation(steps * num_envs)
    stacked = {
        key: torch.from_numpy(np.concatenate([row[key] for row in rows])[order]) for key in seen
    }
    return stacked, np.concatenate(masks)[order]


@pytest.mark.parametrize("env_id", [JOINT, ASSOCIATION])
def test_the_mask_read_from_an_observation_is_the_environments(env_id: str):
    seen, masks = observations(env_id, 50)
    np.testing.assert_array_equal(history.read(seen, env_id == JOINT).legal.numpy(), masks)
    assert 0.2 < masks.mean() < 0.9


def test_rows_of_one_slot_share_an_encoder_pass_and_nothing_else(config: Any):
    seen, _ = observations(ASSOCIATION, 20)
    aed = stirred(AED(AEDConfig.from_dict(config)))
    read = history.read(seen, False)
    assert len(read.inputs.ues) == 3 and int(read.lane.max()) == 19
    with torch.no_grad():
        together = history.decide(aed, read)
        alone = [
            history.decide(aed, history.read({k: v[i : i + 1] for k, v in seen.items()}, False))
            for i in range(8)
        ]
    for name in together._fields:
        single = torch.cat([getattr(one, name) for one in alone])
        torch.testing.assert_close(getattr(together, name)[:8], single, rtol=1e-4, atol=1e-4)


def test_the_hybrid_density_integrates_to_one():
    sb3 = model(PPO, JOINT, "lambo_xs")
    seen, _ = observations(JOINT, 3, 1, "tiny")
    chances = sb3.policy.get_distribution({key: array[1:2] for key, array in seen.items()})
    count = 2000
    shares = (np.arange(count) + 0.5) / count
    place, share = np.repeat(np.arange(5), count), np.tile(shares, 5)
    logits, center = (part.repeat(5 * count, 1) for part in (chances.places.logits, chances.share))
    many = chances.proba_distribution(
        history.Steps(logits, center, center), torch.tensor(True), chances.log_std
    )
    with torch.no_grad():
        density = many.log_prob(torch.from_numpy(encode_action(place, share, 4))).exp()
    assert float(density.sum()) / count == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("env_id", [JOINT, ASSOCIATION])
def test_drawn_actions_are_legal_and_their_density_is_that_of_evaluate(env_id: str):
    sb3 = model(PPO, env_id, "lambo_xs")
    seen, masks = observations(env_id, 6, 8, "tiny")
    with torch.no_grad():
        sb3.policy.set_training_mode(
            False
        )  # as SB3 rolls out; it updates in training mode, where nothing may be dropped out
        actions, values, log_prob = sb3.policy(seen)
        sb3.policy.set_training_mode(True)
        again, replayed, entropy = sb3.policy.evaluate_actions(seen, actions)
    place = decode_action(actions.numpy(), 4)[0] if env_id == JOINT else actions.numpy()
    assert masks[np.arange(len(place)), place].all()
    torch.testing.assert_close((again, replayed), (values, log_prob))
    assert sb3.action_space.contains(sb3.action_space.dtype.type(1) * actions[0].numpy())
    assert bool(torch.isfinite(entropy).all())


def test_entropy_is_minus_the_mean_log_probability_of_draws():
    sb3 = model(PPO, ASSOCIATION, "lambo_xs")
    seen, _ = observations(ASSOCIATION, 1, 1, "tiny")
    chances = sb3.policy.get_distribution(
        {key: array.repeat_interleave(20_000, 0) for key, array in seen.items()}
    )
    with torch.no_grad():
        drawn = -chances.log_prob(chances.sample()).mean()
    assert float(drawn) == pytest.approx(float(chances.entropy()[0].detach()), abs=0.02)


@pytest.mark.parametrize(
    ("algorithm", "env_id"), [(PPO, JOINT), (A2C, JOINT), (MaskablePPO, ASSOCIATION)]
)
def test_learning_moves_every_weight_and_survives_saving(
    algorithm: Any, env_id: str, config: Any, tmp_path: Path
):
    sb3 = model(algorithm, env_id, config)
    before = {name: value.clone() for name, value in sb3.policy.state_dict().items()}
    sb3.learn(48)
    moved = {
        name
        for name, value in sb3.policy.state_dict().items()
        if not torch.equal(value, before[name])
    }
    kept = {name for name in set(before) - moved if "types" not in name}
    unused = (
        "servers.prior.bias",
        "prompt.reader.asks",  # what refuses texts decides nothing
        *(("share",) if env_id == ASSOCIATION else ()),
    )  # a softmax does not see a bias alike for all
    assert {name for name in kept if not any(word in name for word in unused)} == set()
    sb3.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip", device="cpu")
    given, prompts = problem("tiny")
    one, other = (
        PolicyAgent(m, env_id).decide(given, prompts, np.random.default_rng(0))
        for m in (sb3, loaded)
    )
    np.testing.assert_array_equal(one.cpu_hz, other.cpu_hz)
    sb3.policy.save(tmp_path / "policy.pth")
    policy = type(sb3.policy).load(tmp_path / "policy.pth", device="cpu")
    assert policy.aed_config == sb3.policy.aed_config


def test_weights_move_both_ways(tmp_path: Path):
    sb3 = model(PPO, JOINT, "lambo_xs")
    sb3.policy.load_aed(stirred(AED(lambo_xs())))
    sb3.policy.save_aed(tmp_path / "aed.safetensors", note="from SB3")
    assert LamboAgent(tmp_path / "aed.safetensors").num_parameters == sb3.policy.aed.num_parameters
    other = model(PPO, ASSOCIATION, "lambo_xs")
    other.policy.load_aed(tmp_path / "aed.safetensors")
    for one, two in zip(sb3.policy.aed.parameters(), other.policy.aed.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("kwargs", "config", "text"),
    [
        ({"observe": "objective"}, "lambo_xs", "observe='prompt'"),
        ({}, {**PAPERS, "num_servers": 3}, "AEDPolicy.aed.num_servers is 3; allowed: 4"),
        ({}, "lambo_xxs", "did you mean"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs: dict[str, Any], config: Any, text: str):
    with pytest.raises(ValueError, match=text):
        A2C(
            AEDPolicy,
            as_sb3(JOINT, 2, scenario="tiny", **kwargs),
            policy_kwargs={"aed": config},
            device="cpu",
        )


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="AEDConfig.d_model is 16"):
        model(PPO, JOINT, "lambo_xs").policy.load_aed(AED(AEDConfig(**PAPERS)))
