"""The registry rows of agents that share a class: plain data, so that no extra is needed."""

from lambo_agents.registry import AgentSpec

_DROO, _ARE = "baselines.neural.droo.agent:Droo", "baselines.neural.are.agent:Are"
_FROZEN_DROO = {"candidates": 1, "online": False}
_DROO_60FC = {"weights": "droo-60fc", "size": "60fc"}
_ARE_60FC = {"weights": "are-60fc", "size": "60fc"}

DROO_FROZEN = AgentSpec(
    name="droo-frozen",
    entry_point=_DROO,
    kwargs=_FROZEN_DROO,
    extra="torch",
    evaluator_in_loop=False,
    labels_used=0,
    summary="DROO frozen: the network's own decision, no evaluator and no learning.",
)
DROO_60FC = AgentSpec(
    name="droo-60fc",
    entry_point=_DROO,
    kwargs=_DROO_60FC,
    extra="torch",
    evaluator_in_loop=True,
    labels_used=0,
    summary="DROO online with the paper's 60 fully connected layers.",
)
DROO_60FC_FROZEN = AgentSpec(
    name="droo-60fc-frozen",
    entry_point=_DROO,
    kwargs={**_DROO_60FC, **_FROZEN_DROO},
    extra="torch",
    evaluator_in_loop=False,
    labels_used=0,
    summary="DROO frozen with the paper's 60 fully connected layers.",
)
ARE_FROZEN = AgentSpec(
    name="are-frozen",
    entry_point=_ARE,
    kwargs={"online": False},
    extra="torch",
    summary="ARE frozen: the network as it was trained.",
)
ARE_60FC = AgentSpec(
    name="are-60fc",
    entry_point=_ARE,
    kwargs=_ARE_60FC,
    extra="torch",
    labels_used=20_000,
    summary="ARE online with the paper's 60 fully connected layers.",
)
ARE_60FC_FROZEN = AgentSpec(
    name="are-60fc-frozen",
    entry_point=_ARE,
    kwargs={**_ARE_60FC, "online": False},
    extra="torch",
    labels_used=20_000,
    summary="ARE frozen with the paper's 60 fully connected layers.",
)
WPMEC_OFFLOAD = AgentSpec(
    name="wpmec-offload",
    entry_point="baselines.wpmec.fixed:FixedMode",
    kwargs={"offload": True},
    summary="Every device of a wireless powered network offloads.",
)
