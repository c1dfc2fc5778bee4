"""LAMBO's network as a policy of Stable-Baselines3."""
