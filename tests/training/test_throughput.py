import pytest
import torch

from synthome.models.llama import Llama, LlamaConfig
from synthome.training.throughput import matrix_peak, operations_per_token


@pytest.mark.parametrize("kept", [False, True])
def test_operations_are_those_that_pytorch_counts(kept):
    """Independent reference: the counter of PyTorch, over one forward and backward pass.

    It counts matrix products, and not what attention does on a CPU: the last term of eq. 1.
    """
    from torch.utils.flop_counter import FlopCounterMode

    config = LlamaConfig(n_hidden=64, n_layers=2, n_heads=2, n_key_heads=2, n_feedforward=128)
    network = Llama(100, config, n_slots=40)
    network.layers.requires_grad_(not kept)  # as LoRA keeps them
    tokens = torch.randint(100, (3, 32))
    with FlopCounterMode(display=False) as counter:
        h, _ = network(tokens, torch.arange(32).expand(3, 32))
        network.logits(h).sum().backward()
    products = operations_per_token(network, 2, 64, length=0) * tokens.numel()
    assert counter.get_total_flops() == products
    assert operations_per_token(network, 2, 64, 32) == products / tokens.numel() + 12 * 2 * 64 * 32


def test_a_peak_is_measured_once():
    device = torch.device("cpu")
    peak = matrix_peak(device, "fp32", 1)
    assert 1e8 < peak < 1e14
    assert matrix_peak(device, "fp32", 1) == peak
