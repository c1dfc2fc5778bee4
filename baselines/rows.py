"""The registry rows of agents that share a class: plain data, so that no extra is needed."""

from lambo_agents.registry import AgentSpec

_DROO, _ARE = "baselines.neural.droo.agent:Droo", "baselines.neural.are.agent:Are"

DROO_FROZEN = AgentSpec(
    name="droo-frozen",
    entry_point=_DROO,
    kwargs={"candidates": 1, "online": False},
    extra="torch",
    evaluator_in_loop=False,
    labels_used=0,
    summary="DROO frozen: the 60-layer network's own decision, no evaluator and no learning.",
)
DROO_SMALL = AgentSpec(
    name="droo-small",
    entry_point=_DROO,
    kwargs={"weights": "droo-small"},
    extra="torch",
    evaluator_in_loop=True,
    labels_used=0,
    summary="DROO online with the original's two hidden layers of 120 and 80.",
)
DROO_SMALL_FROZEN = AgentSpec(
    name="droo-small-frozen",
    entry_point=_DROO,
    kwargs={"weights": "droo-small", "candidates": 1, "online": False},
    extra="torch",
    evaluator_in_loop=False,
    labels_used=0,
    summary="DROO frozen with the original's two hidden layers of 120 and 80.",
)
WPMEC_OFFLOAD = AgentSpec(
    name="wpmec-offload",
    entry_point="baselines.wpmec.fixed:FixedMode",
    kwargs={"offload": True},
    summary="Every device of a wireless powered network offloads.",
)
ARE_2 = AgentSpec(
    name="are-2",
    entry_point=_ARE,
    kwargs={"weights": "are-2"},
    extra="torch",
    evaluator_in_loop=False,
    labels_used=20_000,
    summary="ARE with two hidden layers of 120 and 80, as large as DROO's own.",
)
