"""Stable-Baselines3 and sb3-contrib on the MEC environments.

The vector environment, training, agents. Needs the extra ``sb3``.
"""
