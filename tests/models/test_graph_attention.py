"""Graph attention against PyTorch Geometric, a dense reference and itself on parts."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from scipy import sparse

from synthome.graph import Graph
from synthome.models.graph_attention import GraphAttention, _Attention, _AttentionV2
from synthome.training.device import cpu_threads

SHAPES = [(6, 4), (4, 6)]  # projected before the sum, and after


def drawn_graph(n=30, seed=0, density=0.15):
    rng = np.random.default_rng(seed)
    return Graph.of(sparse.random_array((n, n), density=density, rng=rng)).with_self()


def layer(n_in, n_out, kind="gat", seed=0):
    torch.manual_seed(seed)
    made = GraphAttention(n_in, n_out, n_heads=3, kind=kind).double()
    torch.nn.init.normal_(made.bias)
    return made


def dense_reference(made, x, graph):
    """Eqs. 1 to 4, word by word, on an n x n mask."""
    mask = torch.tensor(graph.matrix().toarray() != 0)
    w = made.weight.view(made.n_heads, made.n_out, made.n_in)
    out = 0.0
    for h in range(made.n_heads):
        wx = x @ w[h].T
        if made.kind == "gat":
            e = (wx @ made.of_source[h])[None, :] + (wx @ made.of_target[h])[:, None]
            e = torch.nn.functional.leaky_relu(e, 0.2)
        else:
            vx = x @ made.of_target.view_as(w)[h].T
            e = torch.nn.functional.leaky_relu(wx[None, :] + vx[:, None], 0.2) @ made.of_source[h]
        alpha = torch.where(mask, e, -torch.inf).softmax(dim=1)
        out = out + alpha @ wx / made.n_heads
    return out + made.bias


def gradients(y, *inputs):
    weight = torch.linspace(-1.0, 1.0, y.numel(), dtype=y.dtype).view_as(y)
    return torch.autograd.grad((y * weight).sum(), inputs)


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_and_its_gradients_are_those_of_the_equations(kind, shape):
    graph, made = drawn_graph(), layer(*shape, kind)
    x = torch.randn(30, shape[0], dtype=torch.float64, requires_grad=True)
    inputs = (x, *made.parameters())
    y, expected = made(x, graph), dense_reference(made, x, graph)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
    for own, other in zip(gradients(y, *inputs), gradients(expected, *inputs), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_attention_agrees_with_pytorch_geometric(kind, shape, dtype, close):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn = pytest.importorskip("torch_geometric.nn", reason="torch-geometric is a test extra")
    graph, made = drawn_graph(), layer(*shape, kind).to(dtype)
    options = {"heads": 3, "concat": False, "add_self_loops": False}
    theirs = (nn.GATConv if kind == "gat" else nn.GATv2Conv)(*shape, **options).to(dtype)
    if kind == "gat":
        pairs = [(made.weight, theirs.lin.weight), (made.of_source, theirs.att_src)]
        pairs += [(made.of_target, theirs.att_dst), (made.bias, theirs.bias)]
    else:
        pairs = [(made.weight, theirs.lin_l.weight), (made.of_target, theirs.lin_r.weight)]
        pairs += [(made.of_source, theirs.att), (made.bias, theirs.bias)]
        torch.nn.init.zeros_(theirs.lin_l.bias)
        torch.nn.init.zeros_(theirs.lin_r.bias)
    with torch.no_grad():
        for own, other in pairs:
            other.copy_(own.view_as(other))
    x = torch.randn(30, shape[0], dtype=dtype, requires_grad=True)
    y, expected = made(x, graph), theirs(x, torch.stack([graph.indices, graph.targets]))
    torch.testing.assert_close(y, expected, rtol=close, atol=close)
    ours = gradients(y, x, *(own for own, _ in pairs))
    reference = gradients(expected, x, *(other for _, other in pairs))
    for own, other in zip(ours, reference, strict=True):
        torch.testing.assert_close(own, other.view_as(own), rtol=close, atol=close)


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_finite_differences(kind, shape):
    """Also where one target reads all, one source is read by all, and a target reads none."""
    star = np.zeros((7, 9))
    star[0], star[1:6, 2], star[3, 8] = 1.0, 1.0, 1.0
    graph, made = Graph.of(sparse.csr_array(star)), layer(*shape, kind)
    x = torch.randn(9, shape[0], dtype=torch.float64, requires_grad=True)
    names = list(dict(made.named_parameters()))

    def of(x, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(made, given, (x, graph))

    assert torch.autograd.gradcheck(of, (x, *made.parameters()))


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_part_with_its_rim_gives_the_rows_of_the_whole(kind, shape):
    graph, made = drawn_graph(), layer(*shape, kind)
    x = torch.randn(30, shape[0], dtype=torch.float64, requires_grad=True)
    index = torch.tensor([11, 2, 23, 5])
    part, nodes = graph.part(index)
    assert part.n_sources > part.n_targets
    own, whole = made(x[nodes], part), made(x, graph)[index]
    torch.testing.assert_close(own, whole, rtol=0, atol=1e-14)
    inputs = (x, *made.parameters())
    for a, b in zip(gradients(own, *inputs), gradients(whole, *inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
def test_a_target_without_sources_gets_the_bias(kind):
    graph = Graph.of(sparse.csr_array(([1.0], ([0], [1])), shape=(3, 3)))
    made = layer(6, 4, kind)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    y = made(x, graph)
    assert torch.equal(y[1:], made.bias.expand(2, -1))
    assert not torch.allclose(y[0], made.bias)
    (of_x,) = torch.autograd.grad(y[1:].sum(), x)
    assert torch.equal(of_x, torch.zeros_like(x))


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
def test_the_slope_below_zero_is_the_one_given(kind):
    """With a slope of 1, what a target adds to all its scores cancels."""
    graph = drawn_graph()
    made = GraphAttention(6, 4, kind=kind, negative_slope=1.0).double()
    x = torch.randn(30, 6, dtype=torch.float64)
    y = made(x, graph)
    torch.nn.init.normal_(made.of_target)
    torch.testing.assert_close(made(x, graph), y)


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_messages_as_tensors_give_the_same(kind, shape):
    """The way of other devices, walked on the CPU."""
    graph, made = drawn_graph(), layer(*shape, kind)
    x = torch.randn(30, shape[0], dtype=torch.float64, requires_grad=True)
    inputs = (x, *made.parameters())
    y, expected = made._by_edges(x, graph) + made.bias, made(x, graph)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
    for own, other in zip(gradients(y, *inputs), gradients(expected, *inputs), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("by_edges", [False, True])
def test_autocast_is_close_to_full_precision(kind, shape, by_edges):
    """Products are of 8 bits, exponents and sums are not."""
    graph, made = drawn_graph(), layer(*shape, kind).float()
    x = torch.randn(30, shape[0], requires_grad=True)
    inputs = (x, *made.parameters())
    expected = made(x, graph)
    with torch.autocast("cpu", torch.bfloat16):
        y = (made._by_edges(x, graph) + made.bias) if by_edges else made(x, graph)
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.05)
    for own, other in zip(gradients(y, *inputs), gradients(expected, *inputs), strict=True):
        assert own.dtype == torch.float32
        assert (own - other).norm() <= 0.05 * other.norm()


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_second_run_gives_the_same_bits(kind, shape):
    graph, made = drawn_graph(2_000, density=0.002), layer(*shape, kind)
    x = torch.randn(2_000, shape[0], dtype=torch.float64, requires_grad=True)
    with cpu_threads(2):
        runs = []
        for _ in range(2):
            y = made(x, graph)
            runs.append([y, *gradients(y, x, *made.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
def test_passes_over_the_edges_do_not_know_the_number_of_threads(kind):
    """Products of matrices may; the kernels between them may not."""
    graph = drawn_graph(2_000, density=0.002)
    drawn = {"dtype": torch.float64, "requires_grad": True}
    if kind == "gat":
        inputs = (torch.randn(2_000, 3 * 5 + 6, **drawn),)
        run = partial(_Attention.apply, *inputs, 3, 3, graph, 0.2)
    else:
        inputs = tuple(torch.randn(*size, **drawn) for size in [(2_000, 15), (2_000, 3, 5), (3, 5)])
        run = partial(_AttentionV2.apply, *inputs, graph, 0.2)
    runs = []
    for n_threads in (1, 2, 3):
        with cpu_threads(n_threads):
            runs.append([run(), *gradients(run(), *inputs)])
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
def test_it_begins_as_the_mean_over_sources(kind):
    graph, made = drawn_graph(), layer(6, 4, kind)
    weight, bias = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    made.begin(weight, bias)
    x = torch.randn(30, 6, dtype=torch.float64)
    mean = torch.tensor(graph.matrix().toarray())
    mean /= mean.sum(dim=1, keepdim=True)
    torch.testing.assert_close(made(x, graph), mean @ x @ weight.T + bias)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gpu_gives_what_the_cpu_gives(shape):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    graph, made = drawn_graph(), layer(*shape)
    x = torch.randn(30, shape[0], dtype=torch.float64)
    expected = made(x, graph)
    device = torch.device("cuda")
    found = made.to(device)(x.to(device), graph.to(device))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-9, atol=1e-11)
