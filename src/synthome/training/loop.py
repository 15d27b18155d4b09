"""One training loop, in plain PyTorch, for every model of the project.

The data live on the device as whole tensors; a minibatch is an index into them. Those that are too
large for that come as minibatches of a ``ChunkStream``. Several ranks may train side by side; see
``ranks``. Losses add up on the device and are read once an epoch. A run that was killed goes on
from its checkpoint and ends with the same weights, to the bit, because the checkpoint holds every
state that moves.
"""

import copy
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import pandas as pd
import torch
from torch import Tensor, nn

from synthome.csr import CSRRows
from synthome.errors import InputError
from synthome.progress import Progress, progress
from synthome.rng import seeded, stream
from synthome.training import ranks
from synthome.training.chunks import ChunkStream, Minibatch
from synthome.training.config import TrainingConfig
from synthome.training.device import autocast, cpu_threads, memory_kept, pick_device
from synthome.training.tissue_rows import TissueRows

Epoch = dict[str, float]
Rows = Tensor | CSRRows | TissueRows  # whose first axis is n_obs


class Trainable(Protocol):
    """What a model offers to be trained."""

    def loss(self, *minibatch: Tensor, kl_weight: float) -> dict[str, Tensor]:
        """Scalars per sample: ``loss`` is minimised, further terms are recorded."""
        ...


Update = Callable[[nn.Module, Tensor], None]


@runtime_checkable
class Adversarial(Protocol):
    """What a model offers, beside ``loss``, whose networks are optimised apart.

    Attributes
    ----------
    betas
        Of the Adam of each player.
    """

    betas: tuple[float, float]

    def players(self) -> list[nn.Module]:
        """The networks, each with its own optimizer."""
        ...

    def step(self, *minibatch: Tensor, update: Update) -> dict[str, Tensor]:
        """All updates of one minibatch, in full precision; returns the terms of ``loss``.

        ``update(player, loss)`` takes one optimisation step of that player alone.
        """
        ...


class Diverged(RuntimeError):
    """The training loss is no longer a number."""


def fit(
    model: nn.Module,
    data: Sequence[Rows] | ChunkStream,
    config: TrainingConfig,
    *,
    seed: int,
    validation: Sequence[Rows] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoint: Path | None = None,
    description: str = "training",
) -> pd.DataFrame:
    """Train ``model`` in place and return one row per epoch.

    Parameters
    ----------
    model
        A module that is ``Trainable``, and maybe ``Adversarial``; it ends on the CPU, in eval mode,
        with its best weights.
    data, validation
        Tensors, or sparse rows, whose first axis is n_obs; a minibatch takes the same rows of each.
        ``data`` may be a stream, which is read with the batch size of ``config``, with ``seed`` and
        on the device of this run; with ``steps_per_epoch``, an epoch goes on where the one before
        ended.
        With ``validation``, the best epoch is the one with the lowest validation loss, measured
        with the same noise in every epoch; without, it is the last.
    seed
        Of the order of rows and of the noise.
    on_epoch
        Receives the row of each epoch as it ends.
    checkpoint
        File to resume from, and to write every ``config.checkpoint_every`` epochs, for a stream
        also every ``config.checkpoint_minibatches``; removed when training ends. A checkpoint of
        other data, settings or seed is ignored; of a stream, ``ChunkStream.digest`` is compared.

    Returns
    -------
    Columns ``epoch``, ``learning_rate``, ``train_<term>``, ``validation_<term>`` and ``best``,
    which is true for the epoch whose weights the model has.

    Raises
    ------
    Diverged
        If the loss of an epoch is not finite.
    InputError
        If ``config.device`` is not there, or if several ranks are to train on one tissue.
    """
    if ranks.n_ranks() > 1 and any(isinstance(each, TissueRows) for each in _parts(data)):
        raise InputError("The spots of a tissue are trained on together. Train it with ranks=1.")
    device = ranks.own_device(pick_device(config.device))
    model.to(device)
    ranks.begin_alike(model)
    rows: list[Rows] | ChunkStream
    if isinstance(data, ChunkStream):
        rows = replace(
            data, batch_size=config.batch_size, seed=seed, device=device,
            rank=ranks.rank(), n_ranks=ranks.n_ranks(),
        )  # fmt: skip
    else:
        rows = [tensor.to(device) for tensor in data]
    held_out = [tensor.to(device) for tensor in validation] if validation is not None else None
    if ranks.rank() > 0:  # one speaks for all, and each has a checkpoint
        on_epoch = None
        checkpoint = checkpoint and checkpoint.with_name(f"{checkpoint.name}.{ranks.rank()}")
    with (
        seeded(stream(seed, "rank", ranks.rank()) if ranks.rank() else seed),
        cpu_threads(config.threads),
        memory_kept(device),
        closing(_Run(model, rows, held_out, config, seed, f"{description} {seed}")) as run,
    ):
        run.resume(checkpoint)
        epochs: Progress[int]
        with progress(config.max_epochs, description) as epochs:
            epochs.advance(run.epoch)
            while not run.finished:
                row = run.one_epoch(checkpoint)
                if on_epoch is not None:
                    on_epoch(row)
                epochs.advance()
                epochs.note(f"loss {row.get('validation_loss', row['train_loss']):.4g}")
                if checkpoint is not None and run.epoch % config.checkpoint_every == 0:
                    run.save(checkpoint)
        run.restore_best()
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    model.cpu().eval()
    history = pd.DataFrame(run.history)
    history["best"] = history["epoch"] == run.best_epoch
    return history


@dataclass
class _Within:
    """How far an epoch is."""

    learning_rate: float  # that it began with
    n_done: int = 0  # minibatches
    n_seen: int = 0  # rows
    totals: dict[str, Tensor] = field(default_factory=dict)  # of each term, over these rows


class _Run:
    """Everything that moves while a model is trained."""

    def __init__(
        self,
        model: nn.Module,
        rows: list[Rows] | ChunkStream,
        held_out: list[Rows] | None,
        config: TrainingConfig,
        seed: int,
        name: str = "",
    ) -> None:
        self.name = name  # tells checkpoints of other runs apart
        self.model, self.rows, self.held_out = model, rows, held_out
        self.config, self.seed = config, seed
        if isinstance(rows, ChunkStream):
            self.device, n_minibatches = torch.device(rows.device), rows.n_minibatches
        else:
            self.device = rows[0].device
            n_minibatches = -(-(len(rows[0]) // ranks.n_ranks()) // config.batch_size)
        self.adversarial = model if isinstance(model, Adversarial) else None
        self.players, betas = [model], config.betas
        if self.adversarial is not None:
            self.players, betas = self.adversarial.players(), self.adversarial.betas
        self.parameters = [
            [p for p in player.parameters() if p.requires_grad] for player in self.players
        ]
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        self.optimizers: list[torch.optim.Optimizer] = [
            kind(
                parameters,
                lr=config.learning_rate,
                betas=betas,
                weight_decay=config.weight_decay,
                fused=True,
            )
            for parameters in self.parameters
        ]
        self.steps = config.steps_per_epoch or n_minibatches  # of an epoch
        self.schedulers = [
            _scheduler(optimizer, config, self.steps) for optimizer in self.optimizers
        ]
        self.loss: Callable[..., dict[str, Tensor]] = getattr(model, "loss", _no_loss)
        if config.compile:
            self.loss = torch.compile(self.loss)
        self.epoch = 0
        self.within: _Within | None = None  # between epochs
        self.ahead: Generator[Minibatch, None, None] | None = None  # minibatches of a stream
        self.history: list[Epoch] = []
        self.best_epoch, self.best_loss = 0, float("inf")
        self.last_gain, self.gained = 0, float("inf")  # the last epoch that was clearly better
        self.best_weights: dict[str, Tensor] = {}

    @property
    def finished(self) -> bool:
        patience = self.config.patience
        tired = (
            self.held_out is not None
            and patience is not None
            and self.epoch - self.last_gain >= patience
        )
        return tired or self.epoch >= self.config.max_epochs

    def one_epoch(self, checkpoint: Path | None = None) -> Epoch:
        """A pass over the training rows, or what is left of it, then one over the validation rows.

        A long one is saved to ``checkpoint`` on its way.
        """
        self.within = self.within or _Within(self.optimizers[0].param_groups[0]["lr"])
        learning_rate = self.within.learning_rate
        kl_weight = min(1.0, (self.epoch + 1) / max(1, self.config.kl_warmup_epochs))
        terms = self._train(self.within, kl_weight, checkpoint)
        self.within = None
        row: Epoch = {"epoch": self.epoch + 1, "learning_rate": learning_rate}
        row |= {f"train_{name}": value for name, value in terms.items()}
        if self.held_out is not None:
            row |= {f"validation_{name}": value for name, value in self._validate().items()}
        self.epoch += 1
        self.history.append(row)
        if not torch.isfinite(torch.tensor(row["train_loss"])):
            raise Diverged(
                f"The training loss became {row['train_loss']} in epoch {self.epoch}. A lower "
                f"learning rate than {learning_rate:g}, or max_grad_norm, usually mends this."
            )
        self._note_best(row)
        for scheduler in self.schedulers:
            if self.config.schedule == "cosine_steps":
                continue  # moved with every minibatch
            if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
                scheduler.step(row.get("validation_loss", row["train_loss"]))
            elif scheduler is not None:
                scheduler.step()
        return row

    def _train(
        self, within: _Within, kl_weight: float, checkpoint: Path | None
    ) -> dict[str, float]:
        self.model.train()
        streamed = isinstance(self.rows, ChunkStream)
        often = self.config.checkpoint_minibatches if streamed and checkpoint is not None else None
        for minibatch in self._minibatches(within.n_done):
            n_obs = len(minibatch[0])
            _accumulate(within.totals, self._step(minibatch, kl_weight), n_obs)
            within.n_done, within.n_seen = within.n_done + 1, within.n_seen + n_obs
            if often is not None and within.n_done % often == 0:
                self.save(cast(Path, checkpoint))
        return _means(within.totals, within.n_seen)

    def _step(self, minibatch: Sequence[Any], kl_weight: float) -> dict[str, Tensor]:
        if self.adversarial is not None:
            return self.adversarial.step(*minibatch, update=self._update)
        with autocast(self.device, self.config.precision):
            terms = self.loss(*minibatch, kl_weight=kl_weight)
        self._update(self.model, terms["loss"])
        return terms

    def _update(self, player: nn.Module, loss: Tensor) -> None:
        """One optimisation step of ``player``; no other network gets a gradient."""
        i = self.players.index(player)
        optimizer, parameters = self.optimizers[i], self.parameters[i]
        optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters)
        ranks.average_gradients(parameters)
        if self.config.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
        optimizer.step()
        if self.config.schedule == "cosine_steps":
            cast(torch.optim.lr_scheduler.LRScheduler, self.schedulers[i]).step()

    def _minibatches(self, n_done: int) -> Iterator[Sequence[Any]]:
        """Those of an epoch; a stream is read on from where it is."""
        if not isinstance(self.rows, ChunkStream):
            return self._passes(self.rows)
        if self.ahead is None:
            self.ahead = self.rows.onwards(self.epoch * self.steps + n_done)
        return islice(self.ahead, self.steps - n_done)

    def _passes(self, data: list[Rows]) -> Iterator[list[Any]]:
        """The training rows in a new order; as they stand when one minibatch holds them all.

        With ``steps_per_epoch``, as many minibatches as it says: passes over the rows, each in an
        order of its own, and a part of a pass at the end.
        """
        n_obs, n_steps = len(data[0]) // ranks.n_ranks(), self.config.steps_per_epoch
        if n_obs <= self.config.batch_size:
            own = data
            if ranks.n_ranks() > 1:
                index = ranks.own_part(torch.arange(len(data[0]), device=self.device))
                own = [rows[index] for rows in data]
            for _ in range(n_steps or 1):
                yield own
            return
        n_rows = n_obs if n_steps is None else n_steps * self.config.batch_size
        passes = [
            ranks.own_part(ranks.agreed(self._order(data[0]))) for _ in range(-(-n_rows // n_obs))
        ]
        for index in minibatches(torch.cat(passes)[:n_rows], self.config.batch_size):
            yield [rows[index] for rows in data]

    def _order(self, rows: Rows) -> Tensor:
        """Rows of one pass; those of a tissue say themselves which belong together."""
        if isinstance(rows, TissueRows):
            return rows.order()
        return torch.randperm(len(rows), device=self.device)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        self.model.eval()
        held_out = cast(list[Rows], self.held_out)
        totals: dict[str, Tensor] = {}
        with seeded(self.seed):  # the same noise in every epoch: differences are the model's
            in_order = torch.arange(len(held_out[0]), device=self.device)
            in_order = in_order[ranks.rank() :: ranks.n_ranks()]
            for index in in_order.split(self.config.batch_size):
                with autocast(self.device, self.config.precision):
                    terms = cast(Trainable, self.model).loss(
                        *(cast(Tensor, rows[index]) for rows in held_out), kl_weight=1.0
                    )
                _accumulate(totals, terms, len(index))
        return _means(totals, len(in_order))

    def _note_best(self, row: Epoch) -> None:
        if self.held_out is None:
            self.best_epoch = self.epoch
            return
        loss = row["validation_loss"]
        if loss < self.gained - self.config.tolerance * abs(loss):
            self.last_gain, self.gained = self.epoch, loss
        if loss < self.best_loss:
            self.best_epoch, self.best_loss = self.epoch, loss
            self.best_weights = copy.deepcopy(self.model.state_dict())

    def restore_best(self) -> None:
        if self.best_weights:
            self.model.load_state_dict(self.best_weights)

    def close(self) -> None:
        """End the threads of a stream."""
        if self.ahead is not None:
            self.ahead.close()

    @cached_property
    def _fingerprint(self) -> str:
        """Changes when the data, the settings, the seed or the shape of the model change."""
        if isinstance(self.rows, ChunkStream):
            data = self.rows.digest()
        else:
            sums = [_values(rows).double().sum().item() for rows in self.rows]
            data = f"{sums} {[t.shape for t in self.rows]}"
        shapes = [tuple(p.shape) for p in self.model.parameters()]
        part = f"{ranks.rank()} of {ranks.n_ranks()} " if ranks.n_ranks() > 1 else ""
        return f"{part}{self.config!r} {self.name} {data} {type(self.model).__name__} {shapes}"

    def save(self, path: Path) -> None:
        """Write the checkpoint aside, then put it in place, so that a kill leaves a whole one."""
        state: dict[str, Any] = {
            "fingerprint": self._fingerprint,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [s.state_dict() if s is not None else {} for s in self.schedulers],
            "epoch": self.epoch,
            "within": None if self.within is None else vars(self.within),
            "history": self.history,
            "best": (self.best_epoch, self.best_loss, self.best_weights),
            "gain": (self.last_gain, self.gained),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            torch.save(state, aside)
            ranks.wait()  # so that all have a whole one before any is put in place
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)

    def resume(self, path: Path | None) -> None:
        """Take up the states of a checkpoint of this very run, if there is one.

        Several ranks go on from the same place; where they have none in common, from the start.
        """
        if path is None:
            return
        state = self._checkpoint(path)
        place = -1.0
        if state is not None:
            place = float(state["epoch"] * self.steps + (state["within"] or {}).get("n_done", 0))
        if not ranks.is_same(place):
            state = None
        if state is not None:
            self._take_up(state)

    def _checkpoint(self, path: Path) -> dict[str, Any] | None:
        """What ``save`` wrote; None where there is nothing, or that of another run."""
        own = self._fingerprint  # now, while no other chunk of a stream is in memory
        if not path.exists():
            return None
        try:
            state = torch.load(path, weights_only=True, map_location=self.device)
        except Exception as error:
            raise InputError(
                f"The checkpoint {path} cannot be read ({type(error).__name__}). Delete it to "
                "train from the start."
            ) from error
        return cast(dict[str, Any], state) if state.get("fingerprint") == own else None

    def _take_up(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        for optimizer, moved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(moved)
        for scheduler, moved in zip(self.schedulers, state["schedulers"], strict=True):
            if scheduler is not None:
                scheduler.load_state_dict(moved)
        self.epoch, self.history = state["epoch"], state["history"]
        self.within = None if state["within"] is None else _Within(**state["within"])
        self.best_epoch, self.best_loss, self.best_weights = state["best"]
        self.last_gain, self.gained = state["gain"]
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all([rng.cpu() for rng in state["cuda_rng"]])


def _parts(data: Sequence[Rows] | ChunkStream) -> Sequence[Rows]:
    return () if isinstance(data, ChunkStream) else data


def _no_loss(*minibatch: Tensor, kl_weight: float) -> dict[str, Tensor]:  # noqa: ARG001
    """Of a game, whose players each have their own."""
    return {}


def _values(rows: Rows) -> Tensor:
    return rows if isinstance(rows, Tensor) else rows.values


def minibatches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Split ``order`` into minibatches; a last one of a single row joins the one before it.

    Batch normalisation has no variance of one row.
    """
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _accumulate(totals: dict[str, Tensor], terms: dict[str, Tensor], n_obs: int) -> None:
    for name, value in terms.items():
        totals[name] = totals.get(name, 0.0) + value.detach() * n_obs


def _means(totals: dict[str, Tensor], n_obs: int) -> dict[str, float]:
    """Means over the rows of all ranks, of sums over those of this one."""
    if not totals:
        return {}
    n = torch.tensor(float(n_obs), device=next(iter(totals.values())).device)
    *sums, all_obs = ranks.summed([*totals.values(), n])
    return {name: value.item() / all_obs.item() for name, value in zip(totals, sums, strict=True)}


def _scheduler(
    optimizer: torch.optim.Optimizer, config: TrainingConfig, steps: int
) -> torch.optim.lr_scheduler.LRScheduler | torch.optim.lr_scheduler.ReduceLROnPlateau | None:
    if config.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=config.plateau_factor, patience=config.plateau_patience
        )
    if config.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.max_epochs)
    if config.schedule == "cosine_steps":
        total, warmup = steps * config.max_epochs, config.warmup_steps

        def share(step: int) -> float:
            """Of the learning rate: up in a line, then down to 0 along half a cosine."""
            if step < warmup:
                return (step + 1) / warmup
            done = (step - warmup) / max(1, total - warmup)
            return 0.5 + 0.5 * math.cos(math.pi * min(1.0, done))

        return torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    return None
