"""Maps by context against a loop over contexts, finite differences and explicit products."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthome.models import context_maps
from synthome.models.context_maps import ContextMaps, Grouping, grouped_linear, low_rank_maps

WAYS = {"alone": (0, 0), "batches": (2**62, 2**62), "both": (2**62, 3)}  # small matrix, few rows
EXACT = {"rtol": 1e-11, "atol": 1e-12}


def by(way, function, *inputs):
    """The function, with categories one by one, in batches, or the largest ones one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context_maps, "SMALL_MATRIX", WAYS[way][0])
        patch.setattr(context_maps, "FEW_ROWS", WAYS[way][1])
        return function(*inputs)


def drawn(n_obs, n_contexts, n_in, n_out, seed=0, dtype=torch.float64, scale=1.0):
    """Rows, maps and biases that ask for gradients, and a category for each row."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (n_obs, n_in), (n_contexts, n_in, n_out), (n_contexts, n_out)
    h, weight, bias = (torch.randn(*size, generator=generator, dtype=dtype) for size in sizes)
    context = torch.randint(n_contexts, (n_obs,), generator=generator)
    return [h.requires_grad_(), (scale * weight).requires_grad_(), bias.requires_grad_()], context


def loop(h, weight, bias, context):
    """Eq. 1, word by word."""
    y = h.new_zeros(h.shape[0], weight.shape[2])
    for c in range(len(weight)):
        mask = context == c
        y[mask] = h[mask] @ weight[c] + (0.0 if bias is None else bias[c])
    return y


def gradients(y, inputs):
    weight = torch.linspace(-1.0, 1.0, y.numel(), dtype=y.dtype).view_as(y)
    return torch.autograd.grad((y * weight).sum(), inputs)


def agree(y, expected, inputs, **close):
    """Values and gradients in all inputs."""
    torch.testing.assert_close(y, expected, **close)
    for own, other in zip(gradients(y, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(own, other, **close)


@given(
    n_obs=st.integers(0, 40),
    n_contexts=st.integers(1, 9),
    n_in=st.integers(1, 6),
    n_out=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    way=st.sampled_from(list(WAYS)),
)
@settings(max_examples=150, deadline=None)
def test_values_and_gradients_are_those_of_a_loop(n_obs, n_contexts, n_in, n_out, seed, way):
    """Whatever the sizes: one category, one row, none, categories that are absent."""
    inputs, context = drawn(n_obs, n_contexts, n_in, n_out, seed)
    agree(by(way, grouped_linear, *inputs, context), loop(*inputs, context), inputs, **EXACT)


@pytest.mark.parametrize("way", list(WAYS))
def test_a_large_category_among_many_small_ones_is_the_loop_too(way):
    """Real fields are so: most cells are of few categories."""
    inputs, _ = drawn(300, 40, 5, 7)
    context = torch.arange(300).clamp(max=260) % 41 % 40
    context[::2] = 17
    agree(by(way, grouped_linear, *inputs, context), loop(*inputs, context), inputs, **EXACT)


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("n_contexts", [5, 150])
def test_single_precision_is_that_of_the_loop(way, n_contexts):
    """To a millionth of the largest value; gradients, which sum a hundred rows, to three."""
    inputs, context = drawn(512, n_contexts, 64, 96, dtype=torch.float32, scale=64**-0.5)
    y, expected = by(way, grouped_linear, *inputs, context), loop(*inputs, context)
    pairs = [(y, expected), *zip(gradients(y, inputs), gradients(expected, inputs), strict=True)]
    for i, (own, other) in enumerate(pairs):
        assert own.dtype == torch.float32
        close = (3e-6 if i else 1e-6) * float(other.detach().abs().max())
        torch.testing.assert_close(own, other, rtol=0, atol=close)


@pytest.mark.parametrize("way", list(WAYS))
def test_without_bias_there_is_none(way):
    (h, weight, _), context = drawn(20, 4, 3, 5)
    y, expected = by(way, grouped_linear, h, weight, None, context), loop(h, weight, None, context)
    agree(y, expected, (h, weight), **EXACT)


@pytest.mark.parametrize("way", list(WAYS))
def test_gradients_are_those_of_finite_differences(way):
    inputs, context = drawn(11, 5, 3, 4)
    assert torch.autograd.gradcheck(lambda *x: by(way, grouped_linear, *x, context), inputs)
    (h, down, bias), up = drawn(11, 5, 3, 2)[0], drawn(11, 5, 2, 2)[0][1]
    own = (h, down, up, bias)
    assert torch.autograd.gradcheck(lambda *x: by(way, low_rank_maps, *x, context), own)


@pytest.mark.parametrize("way", list(WAYS))
def test_only_wanted_gradients_are_made(way):
    """Frozen maps still hand on the gradient in h, and rows without gradient that in the maps."""
    inputs, context = drawn(20, 4, 3, 5)
    expected = gradients(loop(*inputs, context), inputs)
    for i, wanted in enumerate(inputs):
        given = [x if x is wanted else x.detach() for x in inputs]
        (own,) = gradients(by(way, grouped_linear, *given, context), [wanted])
        torch.testing.assert_close(own, expected[i], **EXACT)


@pytest.mark.parametrize("way", list(WAYS))
def test_low_rank_maps_are_their_explicit_product(way):
    (h, down, _), context = drawn(50, 8, 6, 2)
    _, up, bias = drawn(50, 8, 2, 7, seed=1)[0]
    y = by(way, low_rank_maps, h, down, up, bias, context)
    agree(y, loop(h, down @ up, bias, context), (h, down, up, bias), **EXACT)


@pytest.mark.parametrize("way", list(WAYS))
def test_the_order_of_the_rows_does_not_matter(way):
    """Shuffled rows give shuffled results, and the same gradients in the maps."""
    (h, weight, bias), context = drawn(60, 7, 4, 5)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    y = by(way, grouped_linear, h, weight, bias, context)
    shuffled = by(way, grouped_linear, h[order], weight, bias, context[order])
    torch.testing.assert_close(shuffled, y[order], **EXACT)
    own, other = (torch.autograd.grad(x.square().sum(), (weight, bias)) for x in (shuffled, y))
    for a, b in zip(own, other, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize("way", list(WAYS))
def test_absent_categories_have_a_gradient_of_zero(way):
    inputs, _ = drawn(30, 9, 4, 5)
    context = torch.tensor([7, 2, 5]).repeat(10)
    _, of_weight, of_bias = gradients(by(way, grouped_linear, *inputs, context), inputs)
    present = torch.zeros(9, dtype=torch.bool).index_fill(0, context, True)
    for gradient in (of_weight.flatten(1), of_bias):
        assert torch.equal((gradient != 0).any(dim=1), present)


@pytest.mark.parametrize("way", list(WAYS))
def test_an_empty_minibatch_is_an_empty_result(way):
    """And all parameters have a gradient, of zero."""
    inputs, context = drawn(0, 3, 4, 5)
    y = by(way, grouped_linear, *inputs, context)
    assert y.shape == (0, 5)
    for own, x in zip(gradients(y, inputs), inputs, strict=True):
        assert torch.equal(own, torch.zeros_like(x))


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of this process from /proc")
def test_absent_categories_take_up_no_memory():
    """A gradient that is written in full would take 400 MB, and the time of writing them."""

    def resident_mb():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    weight = torch.from_numpy(np.zeros((25_000, 64, 64), np.float32)).requires_grad_()
    h, context = torch.ones(40, 64), torch.arange(10).repeat(4) * 2_000
    before = resident_mb()
    grouped_linear(h, weight, None, context).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad[2_000], torch.full((64, 64), 4.0))
    assert resident_mb() - before < 100


def test_a_grouping_serves_all_maps_of_a_field():
    """Sorted once; codes of one byte, as pandas has them, are codes too."""
    inputs, context = drawn(50, 6, 4, 5)
    grouping = Grouping.of(context.to(torch.int8))
    wide = drawn(50, 6, 4, 90, seed=1)[0]
    for each in (inputs, wide):
        assert torch.equal(grouped_linear(*each, grouping), grouped_linear(*each, context))


def test_a_grouping_names_what_is_present():
    grouping = Grouping.of(torch.tensor([4, 1, 4, 4, 0]))
    assert (grouping.present, grouping.sizes) == ([0, 1, 4], [1, 1, 3])
    assert grouping.order.tolist() == [4, 1, 0, 2, 3]


@given(
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=12), widest=st.sampled_from([0, 4, 99])
)
@settings(deadline=None)
def test_a_layout_has_a_slot_for_each_row_and_at_most_twice_as_many(sizes, widest):
    """Blocks are of the right categories, and none of one row stands among those of seventy."""
    context = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    layout = Grouping.of(context).layout(widest)
    slots = layout.spread(context[:, None] + 1.0)
    assert torch.equal(layout.collect(slots)[:, 0], context + 1.0)
    assert len(slots) < 2 * len(context) if widest else len(slots) == len(context)
    for block, part in zip(layout.blocks, layout.cut(slots), strict=True):
        members = torch.as_tensor(block.context).view(-1).tolist()
        for c, own in zip(members, part.view(-1, block.width), strict=True):
            assert own.tolist() == [c + 1.0] * sizes[c] + [0.0] * (block.width - sizes[c])


def test_small_products_are_made_in_batches_and_large_ones_one_by_one():
    """Calls are what small ones cost; copies into a batch are what large ones would."""
    context = torch.tensor([0, 1, 2, 2, 3, 3] + 50 * [4])
    grouping = Grouping.of(context)
    batches = [[0, 1], [2, 3], 4]
    for n, expected in ((4, batches), (128, [0, 1, 2, 3, 4]), (4, batches)):
        with pytest.MonkeyPatch.context() as patch:
            products = []
            patch.setattr(torch, "matmul", _noted(products, torch.matmul))
            grouped_linear(torch.ones(56, n), torch.ones(5, n, n), None, grouping)
        assert products == [1 if isinstance(c, int) else len(c) for c in expected]


def _noted(products, matmul):
    def noted(x, weight, out):
        products.append(len(weight) if weight.ndim == 3 else 1)
        return matmul(x, weight, out=out)

    return noted


def test_categories_without_a_map_are_refused():
    """A negative code would read the last map, in silence."""
    inputs, context = drawn(5, 3, 4, 5)
    for wrong, message in ((-1, "count from 0"), (3, "has a map")):
        context[2] = wrong
        with pytest.raises(AssertionError, match=message):
            grouped_linear(*inputs, context)
    with pytest.raises(AssertionError, match="for each row"):
        grouped_linear(*inputs, Grouping.of(context[:3]))


@pytest.mark.parametrize("way", list(WAYS))
def test_autocast_on_a_cpu_leaves_full_precision(way):
    """Its products of 8 bits are no faster here, and gradients would mix types."""
    inputs, context = drawn(40, 4, 8, 6, dtype=torch.float32)
    expected = by(way, grouped_linear, *inputs, context)
    with torch.autocast("cpu", torch.bfloat16):
        y = by(way, grouped_linear, *inputs, context)
    assert torch.equal(y, expected)
    half = [inputs[0].bfloat16(), *inputs[1:]]  # from a layer before
    assert by(way, grouped_linear, *half, context).dtype == torch.float32


@pytest.mark.parametrize("widest", [0, 99])
def test_half_precision_rows_meet_full_precision_maps(widest):
    """What autocast asks for on a GPU, walked on the CPU: gradients have the type of the maps."""
    inputs, context = drawn(60, 5, 16, 12, dtype=torch.float32)
    grouping = Grouping.of(context)
    layout = grouping.layout(widest)
    slots = context_maps._Spread.apply(inputs[0].bfloat16(), layout)
    slots = context_maps._Products.apply(slots, inputs[1], inputs[2], layout)
    y = context_maps._Collected.apply(slots, layout)
    assert y.dtype == torch.bfloat16
    expected = loop(*inputs, context)
    assert (y - expected).norm() <= 0.01 * expected.norm()
    for own, other in zip(gradients(y, inputs), gradients(expected, inputs), strict=True):
        assert own.dtype == torch.float32
        assert (own - other).norm() <= 0.03 * other.norm()


@pytest.mark.parametrize("non_negative", [False, True])
def test_maps_of_low_rank_begin_as_the_identity(non_negative):
    """And can leave it: the factor at zero has a gradient."""
    torch.manual_seed(0)
    maps = ContextMaps(4, 6, rank=2, non_negative=non_negative)
    h, context = torch.rand(20, 6), torch.arange(20) % 4
    y = maps(h, Grouping.of(context))
    assert torch.equal(y, h)
    y.square().sum().backward()
    assert maps.up.grad is not None
    assert (maps.up.grad != 0).all()


def test_full_maps_begin_near_the_identity_each_in_its_way():
    torch.manual_seed(0)
    maps = ContextMaps(4, 64, rank=None)
    h = torch.randn(20, 64)
    y = maps(h, torch.arange(20) % 4)
    assert 0 < (y - h).norm() < 0.02 * h.norm()
    assert not torch.equal(maps.weight[0], maps.weight[1])


def test_non_negative_full_maps_begin_as_means():
    """Values keep their scale: rows of ones stay close to one."""
    torch.manual_seed(0)
    maps = ContextMaps(3, 200, rank=None, non_negative=True)
    assert maps.bias is None
    y = maps(torch.ones(30, 200), torch.arange(30) % 3).detach()
    assert float(y.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(y.std()) < 0.1


@pytest.mark.parametrize("rank", [None, 2])
def test_maps_are_the_equations(rank):
    torch.manual_seed(0)
    maps = ContextMaps(3, 5, rank=rank).double()
    for parameter in maps.parameters():
        torch.nn.init.normal_(parameter)
    h, context = torch.randn(9, 5, dtype=torch.float64), torch.arange(9) % 2
    weight = maps.weight if rank is None else torch.eye(5) + maps.down @ maps.up
    own = tuple(maps.parameters())
    agree(maps(h, context), loop(h, weight, maps.bias, context), own, **EXACT)


@pytest.mark.parametrize("rank", [None, 2])
def test_non_negative_maps_stay_so_through_training(rank):
    """Non-negative rows then have non-negative images; other maps are left as they are."""
    torch.manual_seed(0)
    h, context = torch.rand(30, 5), torch.arange(30) % 3
    for non_negative in (True, False):
        maps = ContextMaps(3, 5, rank=rank, non_negative=non_negative)
        optimizer = torch.optim.SGD(maps.parameters(), lr=1.0)
        for _ in range(3):
            optimizer.zero_grad()
            (maps(h, context) - torch.randn(30, 5)).square().sum().backward()
            optimizer.step()
            before = [parameter.detach().clone() for parameter in maps.parameters()]
            maps.project()
        assert any((x < 0).any() for x in before)
        for own, was in zip(maps.parameters(), before, strict=True):
            assert torch.equal(own, was.clamp(min=0.0) if non_negative else was)


@pytest.mark.gpu
@pytest.mark.parametrize("n_contexts", [1, 7, 40])
def test_the_gpu_gives_what_the_cpu_gives(n_contexts):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    inputs, context = drawn(64, n_contexts, 6, 5)
    device, grouping = torch.device("cuda"), Grouping.of(context)
    moved = [x.detach().to(device).requires_grad_() for x in inputs]
    y, expected = grouped_linear(*moved, grouping.to(device)), grouped_linear(*inputs, grouping)
    torch.testing.assert_close(y.cpu(), expected, rtol=1e-9, atol=1e-11)
    own = gradients(y.cpu(), moved)
    for a, b in zip(own, gradients(expected, inputs), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-9, atol=1e-11)
    with torch.autocast("cuda", torch.bfloat16):
        half = grouped_linear(*(x.float() for x in moved), context.to(device))
    assert half.dtype == torch.bfloat16
    assert (half.cpu().double() - expected).norm() <= 0.02 * expected.norm()
