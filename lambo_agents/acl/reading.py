"""The loss of reading: what texts ask for, of which objective, and in what share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lambo_agents.acl import prompt_corpus
from lambo_agents.network import decoding
from lambo_agents.network.prompt_encoder import PromptSummary, meaning_of

_MISREAD = 0.05  # error of a latency weight that counts as misread


def loss(
    summary: PromptSummary, texts: prompt_corpus.Texts, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of an update's texts, and the share of them that are misread.

    The cross-entropy of what they ask for and, where that is less of something, of the objective
    that they put first and of its share.
    """
    device = summary.reader.out.weight.device
    tokens, text = (part.to(device) for part in decoding.distinct_texts(texts.prompts.tokens))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        summary.train()
        read = summary.read(tokens)
        summary.eval()
    meaning, share, first, asks = (part[text] for part in read)
    asked = torch.from_numpy(texts.asks).to(device)
    less = asked == prompt_corpus.LESS
    latency = torch.from_numpy(~texts.latency_first).long().to(device)
    weight = texts.prompts.latency_weight
    of_first = np.where(texts.latency_first, weight, 1 - weight)
    target = meaning_of(of_first, share.shape[-1])
    total = functional.nll_loss(asks, asked)
    total = total + functional.cross_entropy(share[less], target.to(device)[less])
    total = total + functional.nll_loss(first[less], latency[less])
    shares = torch.linspace(0, 1, meaning.shape[-1], device=device)
    wrong = (meaning.detach().exp() @ shares).cpu().double().numpy() - weight
    missed = np.where(less.cpu(), np.abs(wrong) > _MISREAD, False)
    missed |= asks.detach().argmax(-1).cpu().numpy() != texts.asks
    return total, {"misread": float(missed.mean())}
