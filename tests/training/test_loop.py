"""The one training loop: best weights, reproducibility, resumption."""

import threading
from itertools import chain

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from training.chunked import N_VARS, cells, in_chunks

from synthome.csr import CSRRows
from synthome.errors import InputError
from synthome.training import loop
from synthome.training.chunks import ChunkStream
from synthome.training.config import TrainingConfig
from synthome.training.loop import Diverged, fit, minibatches


class Line(nn.Module):
    """Least squares with dropout noise, so that the random state matters."""

    def __init__(self, n_in: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, 1)

    def loss(self, x: Tensor, y: Tensor, kl_weight: float = 1.0) -> dict[str, Tensor]:
        noisy = nn.functional.dropout(x, 0.02, training=self.training)
        error = (self.linear(noisy).squeeze(1) - y).square().mean()
        return {"loss": error, "kl_weight": torch.tensor(kl_weight)}


def data(n_obs: int = 50, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    x = torch.randn(n_obs, 3)
    return x, x @ torch.tensor([1.0, -2.0, 0.5]) + 0.1 * torch.randn(n_obs)


def line(n_in: int = 3) -> Line:
    torch.manual_seed(1)
    return Line(n_in)


def weights(model: nn.Module) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).numpy()


CONFIG = TrainingConfig(learning_rate=0.02, max_epochs=40, batch_size=16)


def test_training_finds_the_line():
    model = line()
    fit(model, data(), CONFIG.model_copy(update={"max_epochs": 300}), seed=0)
    np.testing.assert_allclose(weights(model)[:3], [1.0, -2.0, 0.5], atol=0.15)


def test_same_seed_same_weights_to_the_bit():
    first, second, other = line(), line(), line()
    fit(first, data(), CONFIG, seed=3)
    fit(second, data(), CONFIG, seed=3)
    fit(other, data(), CONFIG, seed=4)
    np.testing.assert_array_equal(weights(first), weights(second))
    assert not np.array_equal(weights(first), weights(other))


def test_the_random_state_of_the_caller_is_left_alone():
    torch.manual_seed(11)
    expected = torch.randn(3)
    model, rows = line(), data()
    torch.manual_seed(11)
    fit(model, rows, CONFIG, seed=0)
    torch.testing.assert_close(torch.randn(3), expected, rtol=0, atol=0)


class Overshoot(nn.Module):
    """Training pulls the weight to 10; validation is best when it passes 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def loss(self, target: Tensor, kl_weight: float = 1.0) -> dict[str, Tensor]:
        return {"loss": (self.weight - target).square().mean()}


def test_best_weights_are_truly_restored():
    """Trained past the optimum, the model has the weights of the best epoch, not of the last."""
    config = TrainingConfig(learning_rate=0.1, max_epochs=60, batch_size=8)
    model, seen = Overshoot(), []
    history = fit(
        model,
        [torch.full((8,), 10.0)],
        config,
        seed=0,
        validation=[torch.full((4,), 1.0)],
        on_epoch=lambda row: seen.append((row["validation_loss"], model.weight.item())),
    )
    best_loss, best_weight = min(seen)
    assert model.weight.item() == best_weight
    assert model.weight.item() != seen[-1][1]
    assert best_loss < seen[-1][0]
    assert history.loc[history["best"], "validation_loss"].item() == best_loss


def test_patience_ends_training():
    config = TrainingConfig(learning_rate=0.1, max_epochs=500, batch_size=8, patience=7)
    history = fit(
        Overshoot(), [torch.full((8,), 10.0)], config, seed=0, validation=[torch.full((4,), 1.0)]
    )
    best = history.loc[history["best"], "epoch"].item()
    assert history["epoch"].iloc[-1] == best + 7


class Listed(Line):
    """Keeps the rows of each minibatch that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def loss(self, number: Tensor, x: Tensor, y: Tensor, kl_weight: float = 1.0):
        if self.training:
            self.seen.append(number.int().tolist())
        return super().loss(x, y, kl_weight)


@pytest.mark.parametrize(
    ("n_obs", "n_steps", "sizes"),
    [
        (50, None, [16, 16, 16, 2]),
        (50, 2, [16, 16]),
        (50, 7, [16] * 7),
        (16, 3, [16] * 3),
        (5, None, [5]),
        (5, 4, [5] * 4),
    ],
)
def test_an_epoch_is_a_pass_or_so_many_steps(n_obs, n_steps, sizes):
    """Steps go through all rows before one comes again, in another order each time."""
    config = CONFIG.model_copy(update={"steps_per_epoch": n_steps, "max_epochs": 2})
    torch.manual_seed(0)
    model = Listed()
    history = fit(model, (torch.arange(float(n_obs)), *data(n_obs)), config, seed=0)
    assert len(history) == 2
    assert [len(rows) for rows in model.seen] == 2 * sizes
    epochs = [np.concatenate(model.seen[i * len(sizes) :][: len(sizes)]) for i in range(2)]
    for rows in epochs:
        for start in range(0, len(rows), n_obs):
            one_pass = rows[start : start + n_obs]
            assert len(set(one_pass)) == len(one_pass)
    if n_obs > 16:
        assert (epochs[0] != epochs[1]).any()


def test_sparse_rows_and_tensors_go_together():
    """A minibatch takes the same rows of each, in training and in validation."""

    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def loss(self, counts: CSRRows, total: Tensor, kl_weight: float = 1.0):
            torch.testing.assert_close(counts.row_sums(), total)
            return {"loss": (self.weight - total).square().mean()}

    counts = np.random.default_rng(0).poisson(0.5, (40, 6)).astype(np.float32)
    rows, total = CSRRows.of(counts), torch.from_numpy(counts.sum(axis=1))
    fit(Sums(), (rows, total), CONFIG, seed=0, validation=(rows, total))


class Crawl(nn.Module):
    """The loss falls by a hundredth of itself in each epoch, without end."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("value", torch.tensor(100.0))

    def loss(self, x: Tensor, kl_weight: float = 1.0) -> dict[str, Tensor]:
        if self.training:
            self.value *= 0.99
        return {"loss": self.value + 0.0 * self.weight.sum()}


@pytest.mark.parametrize(
    ("tolerance", "expected"), [(0.0, 40), (0.005, 40), (0.012, 40), (0.035, 40), (0.055, 6)]
)
def test_gains_below_the_tolerance_do_not_keep_training_alive(tolerance, expected):
    """One epoch gains 1 %, five gain 4.9 %: together they may be enough; the best is kept."""
    config = TrainingConfig(max_epochs=40, patience=5, tolerance=tolerance)
    rows = [torch.zeros(3)]
    history = fit(Crawl(), rows, config, seed=0, validation=rows)
    assert len(history) == expected
    assert history.loc[history["best"], "epoch"].item() == expected


class Killed(Exception):
    """Stands for the signal that ends a process."""


@pytest.mark.parametrize(
    ("schedule", "n_steps"),
    [
        ("constant", None),
        ("plateau", None),
        ("cosine", None),
        ("plateau", 7),
        ("cosine_steps", None),
    ],
)
def test_a_killed_run_resumes_to_the_same_weights(tmp_path, schedule, n_steps):
    """To the bit: optimizer, schedule, noise, order of rows and best weights all come back."""
    config = CONFIG.model_copy(
        update={
            "schedule": schedule,
            "checkpoint_every": 10,
            "steps_per_epoch": n_steps,
            "patience": None if n_steps is None else 15,
            "tolerance": 0.3,
        }
    )
    x, y = data()
    validation = data(20, seed=5)
    whole = line()
    expected = fit(whole, (x, y), config, seed=0, validation=validation)

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 27:
            raise Killed

    checkpoint, model = tmp_path / "checkpoint.pt", line()
    with pytest.raises(Killed):
        fit(
            model,
            (x, y),
            config,
            seed=0,
            validation=validation,
            on_epoch=kill,
            checkpoint=checkpoint,
        )
    assert checkpoint.exists()
    fresh, epochs = line(), []
    history = fit(
        fresh,
        (x, y),
        config,
        seed=0,
        validation=validation,
        on_epoch=lambda row: epochs.append(row["epoch"]),
        checkpoint=checkpoint,
    )
    assert epochs[0] == 21
    np.testing.assert_array_equal(weights(fresh), weights(whole))
    pd.testing.assert_frame_equal(history, expected)
    assert not checkpoint.exists()
    assert list(tmp_path.iterdir()) == []


class Streamed(Line):
    """Reads sparse rows of a stream, and dies at step ``dies_at``."""

    def __init__(self, dies_at: int | None = None) -> None:
        torch.manual_seed(1)
        super().__init__(N_VARS)
        self.dies_at = dies_at
        self.seen: list[list[int]] = []

    def loss(self, counts: CSRRows, number: Tensor, kl_weight: float = 1.0):
        x = counts.dense()
        if self.training:
            assert (x[:, 0].long() == number + 1).all()  # values and arrays are of the same rows
            if len(self.seen) == self.dies_at:
                raise Killed
            self.seen.append(number.tolist())
        return super().loss(x / 100, x.sum(dim=1) / 100, kl_weight)


def streamed(n_obs: int = 100, scale: float = 1.0) -> ChunkStream:
    """Batch size and seed are not those of the run, which decides."""
    matrix = cells(n_obs)
    matrix.data[matrix.indices > 0] *= scale
    chunks, _ = in_chunks(matrix, [30, 10, 25, 0, n_obs - 65])
    return ChunkStream(chunks, (np.arange(n_obs),), batch_size=3, seed=77)


STREAMED = CONFIG.model_copy(update={"max_epochs": 4, "checkpoint_minibatches": 3})


def test_a_stream_is_read_with_the_seed_and_batch_size_of_the_run():
    """Each epoch reads every row once, in the order of the stream of that seed."""
    model = Streamed()
    history = fit(model, streamed(), STREAMED, seed=5)
    expected = ChunkStream(streamed().chunks, (np.arange(100),), CONFIG.batch_size, seed=5)
    orders = [[part.tolist() for _, part in expected.epoch(epoch)] for epoch in range(4)]
    assert model.seen == [rows for epoch in orders for rows in epoch]
    assert sorted(chain(*orders[0])) == list(range(100))
    assert len(history) == 4
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0] / 2


def test_the_loss_of_a_streamed_epoch_is_the_mean_over_its_rows():
    """Against the loss of all rows at once, of a model that stands still."""
    config = STREAMED.model_copy(update={"learning_rate": 1e-12, "max_epochs": 1})
    history = fit(Streamed(), streamed(), config, seed=0)
    still = Streamed().eval()
    x = torch.from_numpy(cells(100).toarray())
    with torch.no_grad():
        expected = Line.loss(still, x / 100, x.sum(dim=1) / 100)["loss"].item()
    assert history["train_loss"].item() == pytest.approx(expected, rel=0.05)  # dropout of 2 %


def test_a_short_epoch_of_a_stream_goes_on_where_the_one_before_ended():
    """So that all of a huge stream is read, whatever an epoch is."""
    config = STREAMED.model_copy(update={"steps_per_epoch": 2, "max_epochs": 7})
    model = Streamed()
    history = fit(model, streamed(), config, seed=5)
    assert len(history) == 7
    assert sorted(chain(*model.seen[:7])) == list(range(100))
    own = ChunkStream(streamed().chunks, (np.arange(100),), CONFIG.batch_size, seed=5)
    again = [part.tolist() for _, part in own.epoch(1)]
    assert model.seen[7:14] == again


@pytest.mark.parametrize(
    ("schedule", "n_steps", "dies_at", "resumes_at"),
    [
        ("constant", None, 1 * 7 + 5, 1 * 7 + 3),
        ("plateau", None, 2 * 7, 1 * 7 + 6),
        ("cosine", None, 0 * 7 + 4, 3),
        ("cosine_steps", None, 3 * 7 + 3, 3 * 7 + 3),
        ("cosine_steps", 5, 2 * 5 + 4, 2 * 5 + 3),
    ],
)
def test_a_run_killed_within_an_epoch_resumes_to_the_same_weights(
    tmp_path, schedule, n_steps, dies_at, resumes_at
):
    """To the bit, and so are the losses of the epoch that was cut in two.

    It goes on from the last checkpoint, not from the start of the epoch.
    """
    config = STREAMED.model_copy(
        update={"schedule": schedule, "steps_per_epoch": n_steps, "warmup_steps": 4}
    )
    held_out = CSRRows.of(cells(12)), torch.arange(12)
    whole = Streamed()
    expected = fit(whole, streamed(), config, seed=0, validation=held_out)
    checkpoint, killed, resumed = tmp_path / "checkpoint.pt", Streamed(dies_at), Streamed()
    with pytest.raises(Killed):
        fit(killed, streamed(), config, seed=0, validation=held_out, checkpoint=checkpoint)
    history = fit(resumed, streamed(), config, seed=0, validation=held_out, checkpoint=checkpoint)
    assert resumed.seen == whole.seen[resumes_at:]
    np.testing.assert_array_equal(weights(resumed), weights(whole))
    pd.testing.assert_frame_equal(history, expected, check_exact=True)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_stream_is_ignored(tmp_path):
    """The cells changed; all sizes and arrays are as they were."""
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        fit(Streamed(dies_at=5), streamed(scale=3.0), STREAMED, seed=0, checkpoint=checkpoint)
    model = Streamed()
    fit(model, streamed(), STREAMED, seed=0, checkpoint=checkpoint)
    assert len(model.seen) == 4 * 7


def test_a_step_that_fails_leaves_no_thread_of_the_stream():
    """Even while its error is being looked at."""
    before = threading.active_count()
    with pytest.raises(Killed) as failure:
        fit(Streamed(dies_at=2), streamed(), STREAMED, seed=0)
    assert threading.active_count() == before
    assert failure.value.__traceback__ is not None


class Duel(nn.Module):
    """Two players at odds over a product: each pulls its own weight, with noise."""

    betas = (0.5, 0.9)

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.touched: list[bool] = []

    def players(self) -> list[nn.Module]:
        return [self.one, self.two]

    def step(self, x: Tensor, *, update) -> dict[str, Tensor]:
        product = self.two(self.one(x)).mean()
        before = self.two.weight.detach().clone()
        update(self.one, product + (self.one.weight - torch.randn(1)).square().sum())
        self.touched.append(self.two.weight.grad is not None or bool(before != self.two.weight))
        other = self.two(self.one(x)).mean() - (self.two.weight - 1).square().sum()
        update(self.two, -other)
        self.zero_grad()
        return {"loss": product, "other": other}


def duel() -> Duel:
    torch.manual_seed(2)
    return Duel()


def test_each_player_takes_its_own_steps():
    """By hand: two Adams with the betas of the model, one after the other."""
    rows, config = [torch.ones(4, 1)], TrainingConfig(learning_rate=0.01, max_epochs=5)
    model, by_hand = duel(), duel()
    history = fit(model, rows, config, seed=3)
    adams = {p: torch.optim.Adam(p.parameters(), 0.01, (0.5, 0.9)) for p in by_hand.players()}

    def update(player, loss):
        by_hand.zero_grad()
        loss.backward()
        adams[player].step()
        by_hand.zero_grad()

    torch.manual_seed(3)
    for _ in range(5):
        by_hand.step(rows[0], update=update)
    np.testing.assert_allclose(weights(model), weights(by_hand), atol=1e-6)
    assert {"train_loss", "train_other"} <= set(history.columns)
    assert not any(model.touched)  # no gradient, no step, for who is not updated


def test_the_rate_rises_and_falls_with_each_minibatch():
    """Half of 4 warm-up steps after 2, the whole after 4, nothing after the last."""
    config = CONFIG.model_copy(
        update={"schedule": "cosine_steps", "warmup_steps": 4, "steps_per_epoch": 2}
    )
    history = fit(line(), data(), config, seed=0)
    rates = history["learning_rate"].to_numpy() / CONFIG.learning_rate
    np.testing.assert_allclose(rates[:3], [1 / 4, 3 / 4, 1.0])
    at = (2 * 21 - 4) / (80 - 4)  # share of the cosine that epoch 22 starts with
    np.testing.assert_allclose(rates[21], 0.5 + 0.5 * np.cos(np.pi * at))
    assert rates[-1] < 0.01


def test_adamw_shrinks_weights_apart_from_the_gradient():
    """Without a gradient, a step is w - rate * decay * w: Loshchilov & Hutter (2019), alg. 2."""
    model = line()
    start = weights(model)
    x, y = torch.zeros(4, 3), model.linear.bias.detach().expand(4).clone()
    config = TrainingConfig(
        learning_rate=0.1, max_epochs=1, optimizer="adamw", weight_decay=0.5, betas=(0.9, 0.95)
    )
    fit(model, (x, y), config, seed=0)
    np.testing.assert_allclose(weights(model)[:3], start[:3] * (1 - 0.1 * 0.5), rtol=1e-6)


def test_players_have_the_schedule_and_the_norm_of_the_configuration():
    """A step of Adam is at most the learning rate; clipped to nothing, none is taken."""
    rows = [torch.ones(4, 1)]
    config = TrainingConfig(learning_rate=0.01, max_epochs=30, schedule="cosine")
    seen = []
    model = duel()
    fit(
        model,
        rows,
        config,
        seed=0,
        on_epoch=lambda row: seen.append((row["learning_rate"], *weights(model))),
    )
    rates, one, two = np.array(seen).T
    assert rates[-1] < 0.001
    for weight in (one, two):
        assert (np.abs(np.diff(weight)) <= 2.5 * rates[1:] + 1e-7).all()
    clipped, start = duel(), duel()
    fit(clipped, rows, config.model_copy(update={"max_grad_norm": 1e-12}), seed=0)
    np.testing.assert_allclose(weights(clipped), weights(start), atol=0.03)


def test_a_killed_duel_resumes_to_the_same_weights(tmp_path):
    """Both optimizers come back, to the bit."""
    rows = [torch.linspace(-1, 2, 20)[:, None]]
    config = CONFIG.model_copy(update={"schedule": "cosine", "checkpoint_every": 10})
    whole, killed, resumed = duel(), duel(), duel()
    expected = fit(whole, rows, config, seed=0)

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 27:
            raise Killed

    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        fit(killed, rows, config, seed=0, on_epoch=kill, checkpoint=checkpoint)
    epochs: list[float] = []
    history = fit(
        resumed,
        rows,
        config,
        seed=0,
        on_epoch=lambda row: epochs.append(row["epoch"]),
        checkpoint=checkpoint,
    )
    assert epochs[0] == 21
    np.testing.assert_array_equal(weights(resumed), weights(whole))
    pd.testing.assert_frame_equal(history, expected)


def test_a_checkpoint_of_other_data_is_ignored(tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    config = CONFIG.model_copy(update={"checkpoint_every": 5})

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 7:
            raise Killed

    with pytest.raises(Killed):
        fit(line(), data(), config, seed=0, on_epoch=kill, checkpoint=checkpoint)
    other, expected = line(), line()
    fit(other, data(seed=9), config, seed=0, checkpoint=checkpoint)
    fit(expected, data(seed=9), config, seed=0)
    np.testing.assert_array_equal(weights(other), weights(expected))


def test_a_damaged_checkpoint_says_so(tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(b"half a file")
    with pytest.raises(InputError, match="cannot be read.*Delete it"):
        fit(line(), data(), CONFIG, seed=0, checkpoint=checkpoint)


def test_a_loss_that_is_no_number_stops():
    x, y = data()
    with pytest.raises(Diverged, match="epoch 1"):
        fit(line(), (x * torch.inf, y), CONFIG, seed=0)


def test_kl_weight_warms_up():
    config = CONFIG.model_copy(update={"kl_warmup_epochs": 4, "max_epochs": 6})
    history = fit(line(), data(), config, seed=0)
    np.testing.assert_allclose(history["train_kl_weight"], [0.25, 0.5, 0.75, 1, 1, 1])


@pytest.mark.parametrize(
    ("n_obs", "sizes"), [(32, [16, 16]), (33, [16, 17]), (1, [1]), (34, [16, 16, 2])]
)
def test_no_minibatch_of_one_row(n_obs, sizes):
    assert [len(part) for part in minibatches(torch.arange(n_obs), 16)] == sizes


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that is asked for")
def test_cuda_that_is_absent_is_said_so():
    with pytest.raises(InputError, match="no CUDA device"):
        fit(line(), data(), CONFIG.model_copy(update={"device": "cuda"}), seed=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_to_the_same_loss():
    """bf16 on the GPU and fp32 on the CPU end close to each other, where nothing is left to learn.

    Order and dropout are drawn on the device: single epochs differ, and their mean does not.
    """
    long = CONFIG.model_copy(update={"max_epochs": 300})
    on_cpu, on_gpu = (
        fit(line(), data(), long.model_copy(update={"device": device}), seed=0)["train_loss"]
        for device in ("cpu", "cuda")
    )
    assert on_cpu.iloc[0] > 2.0
    assert on_gpu.iloc[-100:].mean() == pytest.approx(on_cpu.iloc[-100:].mean(), abs=0.03)


def test_checkpoints_replace_each_other_whole(tmp_path, monkeypatch):
    """A write that fails leaves the earlier checkpoint as it was."""
    checkpoint = tmp_path / "checkpoint.pt"
    config = CONFIG.model_copy(update={"checkpoint_every": 5})
    saves, torch_save = [], torch.save

    def full_disk(state, path):
        saves.append(path)
        if len(saves) == 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        torch_save(state, path)

    monkeypatch.setattr(loop.torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        fit(line(), data(), config, seed=0, checkpoint=checkpoint)
    assert torch.load(checkpoint, weights_only=True)["epoch"] == 5
    assert list(tmp_path.iterdir()) == [checkpoint]
