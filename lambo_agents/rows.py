"""The rows of this package's agents in the registry: plain data, so that no extra is needed."""

from lambo_agents.registry import AgentSpec

# About, of local search, in all trainings that made shipped weights; a file counts its last alone.
LABELS = {"lambo-s": 1_299_000, "lambo-xs": 30_000}

LAMBO_S = AgentSpec(
    name="lambo-s",
    entry_point="lambo_agents.agent:LamboAgent",
    extra="torch",
    labels_used=LABELS["lambo-s"],
    summary="Reads the prompts' text and the slot's observation columns.",
)
LAMBO_XS = AgentSpec(
    name="lambo-xs",
    entry_point="lambo_agents.agent:LamboAgent",
    kwargs={"weights": "lambo-xs"},
    extra="torch",
    labels_used=LABELS["lambo-xs"],
    summary="A student of lambo-s: a third of its numbers, as 8-bit integers.",
)
LAMBO_S_ALEF = AgentSpec(
    name="lambo-s+alef",
    entry_point="lambo_agents.alef.agent:ALEF",
    kwargs={"weights": "lambo-s"},
    extra="torch",
    summary="LAMBO that follows a drifting world: an expert labels its most doubtful instances.",
)
LAMBO_Q = AgentSpec(
    name="lambo-q",
    entry_point="lambo_agents.queueing.agent:QueueLambo",
    kwargs={"weights": "lambo-q"},
    extra="torch",
    evaluator_in_loop=False,
    labels_used=0,
    summary="Decides tasks that wait, each slot's in turn; learned over slots.",
)
