"""What an engine raises beside what its tasks do."""


class WorkerDiedError(RuntimeError):
    """A worker process is gone, not the task's own exception."""

    way_out = "run the same command again, with fewer --jobs"


class NodeLacksError(WorkerDiedError):
    """A node of a cluster cannot import what its task is made of."""

    way_out = "install the same version of lambo-mec on every node and run the same command again"
