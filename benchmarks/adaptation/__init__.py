"""How agents follow worlds that change: `lambo adapt`."""
