"""Tokens of a language model trained on in a second: ours against the Llama of transformers.

The default shape of omics_lm, weights copied, AdamW, batches of 32: texts of 40 genes, and of 512
tokens. On a GPU also compiled against step by step.
"""

import statistics
import time
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.harness import Comparison, clock_of, in_pairs, seconds_of
from synthome.models.llama import Llama, LlamaConfig
from synthome.rng import seeded
from synthome.training.config import TrainingConfig
from synthome.training.loop import fit
from synthome.training.throughput import matrix_peak, operations_per_token

N_TOKENS = 525
SHORT, LONG = (46, 1600), (513, 64)  # tokens of a text, and how many texts


class NextToken(nn.Module):
    """Cross entropy of each next token."""

    def __init__(self, network: nn.Module, theirs: bool = False) -> None:
        super().__init__()
        self.network, self.theirs = network, theirs

    def loss(self, tokens: Tensor, kl_weight: float = 1.0) -> dict[str, Tensor]:  # noqa: ARG002
        read = tokens[:, :-1]
        if self.theirs:
            logits = self.network(read, use_cache=False).logits
        else:
            logits = self.network.logits(self.network(read)[0])  # type: ignore[operator]
        return {"loss": cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())}


def texts(n_rows: int, length: int, n_tokens: int) -> Tensor:
    """Random texts; what they say does not change how long they take."""
    return torch.randint(n_tokens, (n_rows, length), generator=torch.Generator().manual_seed(0))


def training(device: str, **changes: Any) -> TrainingConfig:
    settings = {"batch_size": 32, "max_epochs": 1, "optimizer": "adamw", "betas": (0.9, 0.95)}
    settings |= {"weight_decay": 0.1, "learning_rate": 1e-4, "max_grad_norm": 1.0, "threads": 1}
    return TrainingConfig.model_validate(settings | {"device": device} | changes)


def run(device: str) -> Comparison:
    """One epoch over texts of 40 genes; those of 512 tokens are in ``extra``."""
    short, long = _compare(device, *SHORT), _compare(device, *LONG)
    names = ("tokens per second", "share of the matrix peak")
    short.extra |= {f"{name} at 512 tokens": long.extra[name] for name in names}
    short.extra["ratio at 512 tokens"] = round(statistics.median(long.ratios), 2)
    if device == "cuda":
        short.extra["tokens per second by epoch"] = {
            name: round(_rate_of_epochs(device, compiled))
            for name, compiled in (("step by step", False), ("compiled", True))
        }
    return short


def _compare(device: str, length: int, n_rows: int) -> Comparison:
    """Ours and theirs in turn; on a GPU in bf16."""
    config = LlamaConfig()
    rows = texts(n_rows, length, N_TOKENS)
    with seeded(0):
        ours, theirs = Llama(N_TOKENS, config), transformers_llama(N_TOKENS, config)
    theirs.model.load_state_dict(ours.state_dict(), strict=False)
    chosen = training(device)
    precision = "fp32" if device == "cpu" else "bf16"

    def one_epoch() -> None:
        fit(NextToken(ours), [rows], chosen, seed=0)

    def one_epoch_of_theirs() -> None:
        fit(NextToken(theirs, theirs=True), [rows], chosen, seed=0)

    peak = _peak(device, precision)
    seconds = in_pairs(one_epoch, one_epoch_of_theirs, pairs=3, clock=clock_of(device))
    peak = max(peak, _peak(device, precision))
    rate = n_rows * (length - 1) / min(seconds[0])
    needed = operations_per_token(ours, config.n_layers, config.n_hidden, length - 1)
    return Comparison(
        name="omics_lm_training",
        claim="training of the small language model, texts of 40 genes",
        protocol=f"{n_rows:,} texts of {length} tokens, batches of 32, AdamW, {precision}, one "
        f"thread, {seconds_of(device)}; reference: LlamaForCausalLM of transformers, same weights, "
        "same loop",
        ours=seconds[0],
        reference=seconds[1],
        extra={
            "tokens per second": round(rate),
            "share of the matrix peak": round(rate * needed / peak, 3),
            "matrix peak, GFLOP/s": round(peak / 1e9),
            "parameters": sum(p.numel() for p in ours.parameters()),
        },
    )


def _peak(device: str, precision: str) -> float:
    """Measured anew: others on the machine can halve it, which doubles a share."""
    torch.set_num_threads(1)
    matrix_peak.cache_clear()
    return matrix_peak(torch.device(device), precision, 1)


def _rate_of_epochs(device: str, compiled: bool) -> float:
    """Tokens per second of the best epoch after the first, in which the network is compiled."""
    length, n_rows = SHORT
    rows = texts(n_rows, length, N_TOKENS)
    with seeded(0):
        network = Llama(N_TOKENS, LlamaConfig())
    chosen = training(device, max_epochs=4, compile=compiled)
    ends: list[float] = []
    fit(NextToken(network), [rows], chosen, seed=0,
        on_epoch=lambda _: ends.append(time.perf_counter()))  # fmt: skip
    return n_rows * (length - 1) / min(b - a for a, b in pairwise(ends))


def transformers_llama(n_tokens: int, config: LlamaConfig) -> Any:
    """The same shape by Hugging Face."""
    from transformers import LlamaConfig as TheirConfig
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM(
        TheirConfig(
            vocab_size=n_tokens,
            hidden_size=config.n_hidden,
            intermediate_size=config.n_feedforward,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_key_heads,
            rms_norm_eps=config.norm_eps,
            tie_word_embeddings=True,
        )
    )
