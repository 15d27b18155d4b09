"""The shape of SmolLM-1.7B, random weights, batches of 32 x 512 tokens, on one GPU of 80 GB.

Ours is compiled, the reference is the same network as PyTorch runs it step by step. Weights and
AdamW are in fp32, products in bf16; each layer is computed again in the backward pass.
"""

import time
from itertools import pairwise

import torch

from benchmarks.harness import Comparison
from benchmarks.omics_lm_training import NextToken, texts, training
from synthome.models.llama import Llama, LlamaConfig
from synthome.rng import seeded
from synthome.training.loop import fit
from synthome.training.throughput import matrix_peak, operations_per_token

SHAPE = LlamaConfig(
    n_hidden=2048,
    n_layers=24,
    n_heads=32,
    n_key_heads=32,
    n_feedforward=8192,
    checkpoint_layers=True,
)
N_TOKENS, LENGTH, STEPS = 49_152, 513, 8  # vocabulary of the published model; 512 are predicted
OURS = 550  # tokens that omics_lm keeps of it


def run(device: str) -> Comparison:
    """Seconds of a step, after an epoch that is not counted, in which the network is compiled.

    With the tokens of omics_lm alone: in ``extra``.
    """
    if device != "cuda" and SHAPE.n_hidden > 1000:
        raise SystemExit("omics_lm_1_7b needs a GPU of 80 GB: python -m benchmarks --gpu.")
    seconds: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    needed: dict[str, float] = {}
    n_weights: dict[str, int] = {}
    for name, n_tokens, compiled in (
        ("step by step", N_TOKENS, False),
        ("compiled", N_TOKENS, True),
        (f"compiled, {OURS} tokens", OURS, True),
    ):
        rows = texts(32 * STEPS, LENGTH, n_tokens)
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        with torch.device(device), seeded(0):
            network = Llama(n_tokens, SHAPE)
        ends: list[float] = []
        chosen = training(device, max_epochs=3, precision="bf16", compile=compiled)
        fit(NextToken(network), [rows], chosen, seed=0,
            on_epoch=lambda _, ends=ends: ends.append(time.perf_counter()))  # fmt: skip
        seconds[name] = [(b - a) / STEPS for a, b in pairwise(ends)]
        if device == "cuda":
            memory[name] = round(torch.cuda.max_memory_allocated() / 2**20)
        n_weights[name] = sum(p.numel() for p in network.parameters())
        needed[name] = operations_per_token(network, SHAPE.n_layers, SHAPE.n_hidden, LENGTH - 1)
        del network
    peak = matrix_peak(torch.device(device), "bf16", 1)
    rates = {name: 32 * (LENGTH - 1) / min(of_steps) for name, of_steps in seconds.items()}
    shares = {name: round(rate * needed[name] / peak, 3) for name, rate in rates.items()}
    fewer = f"compiled, {OURS} tokens"
    return Comparison(
        name="omics_lm_1_7b",
        claim="a training step of 1.7 billion weights, 32 x 512 tokens",
        protocol="SmolLM-1.7B shape, random weights, tied embedding of 49,152 tokens, bf16 products"
        ", fp32 weights and fused AdamW, layers computed again in the backward pass; reference: "
        "the same, not compiled",
        ours=seconds["compiled"],
        reference=seconds["step by step"],
        peak_mb=memory,
        extra={
            "tokens per second": round(rates["compiled"]),
            "share of the matrix peak": shares["compiled"],
            "matrix peak, TFLOP/s": round(peak / 1e12),
            "parameters": n_weights["compiled"],
            f"tokens per second, vocabulary of {OURS}": round(rates[fewer]),
            f"share of the matrix peak, vocabulary of {OURS}": shares[fewer],
        },
    )
