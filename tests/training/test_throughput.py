import torch

from synthome.models.llama import Llama, LlamaConfig
from synthome.training.throughput import matrix_peak, operations_per_token


def test_operations_are_those_that_pytorch_counts():
    """Independent reference: the counter of PyTorch, over one forward and backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    config = LlamaConfig(n_hidden=64, n_layers=2, n_heads=2, n_key_heads=2, n_feedforward=128)
    network = Llama(100, config, n_slots=40)
    tokens = torch.randint(100, (3, 32))
    with FlopCounterMode(display=False) as counter:
        h, _ = network(tokens, torch.arange(32).expand(3, 32))
        network.logits(h).sum().backward()
    ours = operations_per_token(network, 2, 64, 32) * tokens.numel()
    assert 0.9 < counter.get_total_flops() / ours < 1.1


def test_a_peak_is_measured_once():
    device = torch.device("cpu")
    peak = matrix_peak(device, "fp32", 1)
    assert 1e8 < peak < 1e14
    assert matrix_peak(device, "fp32", 1) == peak
