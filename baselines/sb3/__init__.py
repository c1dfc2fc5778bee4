"""Stable-Baselines3 and sb3-contrib on the MEC environments: the vector environment, training, agents. Needs the extra ``sb3``."""
