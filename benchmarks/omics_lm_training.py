"""Tokens of a language model trained on in a second: ours against the Llama of transformers.

The default shape of omics_lm on texts of 40 genes, weights copied, AdamW, batches of 32.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.harness import Comparison, clock_of, in_pairs
from synthome.models.llama import Llama, LlamaConfig
from synthome.rng import seeded
from synthome.training.config import TrainingConfig
from synthome.training.loop import fit
from synthome.training.throughput import matrix_peak, operations_per_token

N_TOKENS, LENGTH, N_ROWS = 525, 46, 1600


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
    """One epoch over 1,600 texts; on a GPU in bf16."""
    config = LlamaConfig()
    rows = texts(N_ROWS, LENGTH, N_TOKENS)
    with seeded(0):
        ours, theirs = Llama(N_TOKENS, config), transformers_llama(N_TOKENS, config)
    theirs.model.load_state_dict(ours.state_dict(), strict=False)
    chosen = training(device)
    on_cpu = device == "cpu"
    seconds = in_pairs(
        lambda: fit(NextToken(ours), [rows], chosen, seed=0),
        lambda: fit(NextToken(theirs, theirs=True), [rows], chosen, seed=0),
        pairs=3,
        clock=clock_of(device),
    )
    rate = N_ROWS * (LENGTH - 1) / min(seconds[0])
    torch.set_num_threads(1)
    precision = "fp32" if on_cpu else "bf16"
    peak = matrix_peak(torch.device(device), precision, 1)
    needed = operations_per_token(ours, config.n_layers, config.n_hidden, LENGTH - 1)
    return Comparison(
        name="omics_lm_training",
        claim="training of the small language model, texts of 40 genes",
        protocol=f"{N_ROWS:,} texts of {LENGTH} tokens, batches of 32, AdamW, {precision}, one "
        "thread; reference: LlamaForCausalLM of transformers, same weights, same loop",
        ours=seconds[0],
        reference=seconds[1],
        extra={
            "tokens per second": round(rate),
            "share of the matrix peak": round(rate * needed / peak, 3),
            "matrix peak, GFLOP/s": round(peak / 1e9),
            "parameters": sum(p.numel() for p in ours.parameters()),
        },
    )


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
