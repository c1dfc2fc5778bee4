"""What an engine raises beside what its tasks do."""


class WorkerDiedError(RuntimeError):
    """A worker process is gone, not the task's own exception."""
