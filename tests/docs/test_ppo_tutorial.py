"""The tutorial on plain SB3: its code as printed reaches what the page says."""

import time
from typing import Any

import pytest
from doc_blocks import ROOT, blocks

pytest.importorskip("stable_baselines3")
PAGE = ROOT / "docs" / "tutorials" / "train-with-sb3.md"


def printed_block() -> str:
    """Return the page's block that trains PPO."""
    found = [block for block in blocks(PAGE.read_text(encoding="utf-8")) if block.left_out]
    (block,) = [block for block in found if "test_ppo_tutorial" in block.note]
    return block.body


def test_the_block_is_plain_sb3_with_the_arguments_for_generic_learners():
    body = printed_block()
    assert "from stable_baselines3 import PPO" in body and "model = PPO(" in body
    assert '"observe": "objective", "reward": "relative"' in body and "load(" not in body
    assert "features_extractor" not in body and 'PPO(\n    "MultiInputPolicy"' in body


@pytest.mark.slow
def test_the_printed_code_comes_within_three_per_cent_of_the_optimum_in_90_cpu_seconds():
    namespace: dict[str, Any] = {"__name__": "__main__"}
    start = time.process_time()
    exec(compile(printed_block(), str(PAGE), "exec"), namespace)
    seconds = time.process_time() - start
    assert set(namespace["gaps"]) == {"minimum latency", "minimum energy"}
    assert max(namespace["gaps"].values()) <= 3.0, namespace["gaps"]
    assert min(namespace["gaps"].values()) >= -0.02, "nobody is better than the bound"
    assert seconds <= 90, seconds
