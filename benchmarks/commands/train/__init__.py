"""One file per kind of network that ``lambo train`` and ``lambo tune`` train."""
