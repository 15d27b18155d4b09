import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from synthome import csr
from synthome.csr import CSRRows

# A matrix that is mostly zeros, and rows of it in any order, some twice, some never.
MATRICES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 7), st.integers(1, 9)),
    elements=st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 5.5]),
)


def random(n_obs: int, n_vars: int, density: float = 0.3, seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    x = rng.poisson(3.0, (n_obs, n_vars)) * (rng.random((n_obs, n_vars)) < density)
    return sparse.csr_matrix(x, dtype=np.float32)


@settings(deadline=None, max_examples=50)
@given(x=MATRICES, data=st.data())
def test_it_is_the_matrix_without_its_zeros(x, data):
    rows = CSRRows.of(x)
    assert len(rows) == x.shape[0]
    assert rows.shape == x.shape
    assert len(rows.values) == np.count_nonzero(x)
    np.testing.assert_array_equal(rows.dense(), x)
    np.testing.assert_array_equal(rows.row_sums(), x.sum(axis=1))
    np.testing.assert_array_equal(rows.rows, np.nonzero(x)[0])
    index = data.draw(st.lists(st.integers(0, len(x) - 1), max_size=9))
    taken = rows[torch.tensor(index, dtype=torch.int64)]
    assert taken.shape == (len(index), x.shape[1])
    np.testing.assert_array_equal(taken.dense(), x[index])
    np.testing.assert_array_equal(taken.rows, np.nonzero(x[index])[0])


def test_stored_zeros_are_dropped_and_what_is_stored_twice_is_added():
    twice = sparse.coo_matrix(([1.0, 2.0, 0.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 3))
    rows = CSRRows.of(twice)
    assert rows.values.tolist() == [3.0]
    np.testing.assert_array_equal(rows.dense(), twice.toarray())


def test_the_matrix_that_was_given_is_left_alone():
    given_ = sparse.csr_matrix((np.array([0.0, 2.0]), [1, 0], [0, 2]), shape=(1, 2))
    rows = CSRRows.of(given_)
    rows.values.mul_(7.0)
    np.testing.assert_array_equal(given_.data, [0.0, 2.0])


def test_a_row_without_counts_stays_a_row():
    x = np.array([[0, 1], [0, 0], [2, 0], [0, 0]], dtype=np.float32)
    rows = CSRRows.of(x)
    np.testing.assert_array_equal(rows[torch.tensor([1, 2, 3])].dense(), x[[1, 2, 3]])
    np.testing.assert_array_equal(rows @ torch.eye(2), x)


def test_the_same_places_can_hold_other_values():
    rows = CSRRows.of(random(5, 8))
    np.testing.assert_array_equal(
        rows.with_values(rows.values.log1p()).dense(), rows.dense().log1p()
    )


@pytest.fixture(params=["weighted sums", "dense"])
def way(request, monkeypatch) -> str:
    """Of computing a product: small matrices would all be dense ones."""
    monkeypatch.setattr(csr, "BOOKKEEPING", 0)
    monkeypatch.setattr(csr, "PER_COUNT", 0 if request.param == "weighted sums" else np.inf)
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_product_and_gradient_are_those_of_the_dense_matrix(dtype, way):
    """Also with rows and columns, first, last and between, that are empty."""
    x = random(40, 60).toarray()
    x[[0, 7, 39]], x[:, [0, 5, 59]] = 0.0, 0.0
    torch.manual_seed(0)
    weight, upstream = torch.randn(60, 7, dtype=dtype), torch.randn(40, 7, dtype=dtype)
    gradients, products = [], []
    for matrix in (CSRRows.of(x), torch.from_numpy(x).to(dtype)):
        own = weight.clone().requires_grad_()
        product = matrix @ own
        (product * upstream).sum().backward()
        products.append(product.detach())
        gradients.append(own.grad)
    torch.testing.assert_close(products[0], products[1])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_gradient_that_is_not_contiguous_is_read_rightly(way):
    """That of a sum is one number, expanded."""
    x = random(6, 4)
    weight = torch.ones(4, 3, requires_grad=True)
    (CSRRows.of(x) @ weight).sum().backward()
    expected = np.repeat(np.asarray(x.sum(axis=0)).T, 3, axis=1)
    np.testing.assert_array_equal(weight.grad, expected)


def test_moved_to_a_device_it_is_the_same():
    rows = CSRRows.of(random(5, 8))
    moved = rows.to(torch.device("cpu"))
    assert moved.device == rows.device
    np.testing.assert_array_equal(moved.dense(), rows.dense())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_product_and_gradient():
    x = random(400, 600, density=0.1)
    torch.manual_seed(0)
    weight = torch.randn(600, 7)
    found = []
    for device in map(torch.device, ("cpu", "cuda")):
        own = weight.to(device, copy=True).requires_grad_()
        rows = CSRRows.of(x).to(device)
        (rows @ own).square().sum().backward()
        found.append((own.grad.cpu(), rows[torch.tensor([3, 1, 1], device=device)].dense().cpu()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
