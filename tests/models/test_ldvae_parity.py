"""The authors' own code on the same weights: LinearSCVI of scvi-tools.

Where the choices are the published ones, ldvae is that model. The likelihood and the encoder's
product are computed without zeros here; theirs add 1e-8 within logarithms.
"""

import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from torch import nn

from synthome.csr import CSRRows
from synthome.models.ldvae import LDVAE, LDVAEConfig, _kl

pytestmark = pytest.mark.slow  # for what LinearSCVI imports

N_OBS, N_VARS = 96, 120


@pytest.fixture(scope="module")
def linear_scvi() -> Any:
    """Imported once, by the worker that needs it: it takes seconds and warns of much."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi = pytest.importorskip("scvi")
        from scvi.model import LinearSCVI
    logging.getLogger("scvi").setLevel(logging.ERROR)
    assert scvi.__version__
    return LinearSCVI


@pytest.fixture(scope="module")
def cells() -> AnnData:
    rng = np.random.default_rng(0)
    x = rng.negative_binomial(0.7, 0.15, (N_OBS, N_VARS)) * (rng.random((N_OBS, N_VARS)) < 0.4)
    obs = pd.DataFrame({"batch": rng.choice(["A", "B"], N_OBS)}, index=map(str, range(N_OBS)))
    return AnnData(x.astype(np.float32), obs=obs)


def theirs(linear_scvi: Any, cells: AnnData, n_batches: int, **options: Any) -> nn.Module:
    """Their network, with statistics and gains as after some training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = cells.copy()
        linear_scvi.setup_anndata(given, batch_key="batch" if n_batches > 1 else None)
        torch.manual_seed(1)
        network = linear_scvi(given, use_observed_lib_size=True, **options).module
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.2)
    return network


def ours(network: nn.Module, n_batches: int, **options: Any) -> LDVAE:
    """Our network with their weights."""
    config = LDVAEConfig(
        decoder_batch_norm=True, decoder_bias=False, encoder_input="counts", start="random",
        n_latent=network.n_latent, dropout=options.pop("dropout", 0.1),
        dispersion=network.dispersion.replace("-", "_"),
    )  # fmt: skip
    made = LDVAE(N_VARS, n_batches, config, network.gene_likelihood)
    encoder, decoder = network.z_encoder, network.decoder
    first, norm = encoder.encoder.fc_layers[0][:2]
    with torch.no_grad():
        made.hidden.copy_(first.weight.T)
        made.hidden_bias.copy_(first.bias)
        made.log_theta.copy_(network.px_r.t())
    made.norm.load_state_dict(norm.state_dict())
    made.loc.load_state_dict(encoder.mean_encoder.state_dict())
    made.log_variance.load_state_dict(encoder.var_encoder.state_dict())
    linear, norm = decoder.factor_regressor.fc_layers[0][:2]
    made.logits.load_state_dict(linear.state_dict())
    made.decoder_norm.load_state_dict(norm.state_dict())
    if made.pi_logits is not None:  # ours has no batch normalisation there: fold it in
        linear, norm = decoder.px_dropout_decoder.fc_layers[0][:2]
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        with torch.no_grad():
            made.pi_logits.weight.copy_(linear.weight * gain[:, None])
            made.pi_logits.bias.copy_(norm.bias - norm.running_mean * gain)
    return made


def their_terms(network: nn.Module, cells: AnnData) -> tuple[Any, torch.Tensor]:
    """Their loss of all cells, and the z that it was computed with."""
    x = torch.from_numpy(cells.X)
    batch = torch.from_numpy((cells.obs["batch"] == "B").to_numpy().astype(np.int64))[:, None]
    tensors = {"X": x, "batch": batch * (network.n_batch > 1), "labels": 0 * batch}
    torch.manual_seed(2)
    inferred = network.inference(x, tensors["batch"])
    generated = network.generative(
        inferred["z"], inferred["library"], tensors["batch"], y=tensors["labels"]
    )
    return network.loss(tensors, inferred, generated), inferred["z"]


def our_minibatch(cells: AnnData, n_batches: int) -> tuple[CSRRows, torch.Tensor, torch.Tensor]:
    rows = CSRRows.of(cells.X)
    batch = torch.from_numpy((cells.obs["batch"] == "B").to_numpy().astype(np.int64))
    return rows, rows.row_sums(), batch * (n_batches > 1)


@pytest.mark.parametrize("n_latent", [10, 36])
@pytest.mark.parametrize(("n_batches", "dispersion"), [(1, "gene"), (2, "gene"), (2, "gene-batch")])
@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson"])
def test_both_terms_of_each_cell_agree(
    likelihood, n_batches, dispersion, n_latent, linear_scvi, cells
):
    network = theirs(
        linear_scvi, cells, n_batches, n_latent=n_latent, gene_likelihood=likelihood,
        dispersion=dispersion,
    ).eval()  # fmt: skip
    own = ours(network, n_batches).eval()
    rows = our_minibatch(cells, n_batches)
    with torch.no_grad():
        expected, z = their_terms(network, cells)
        nll, kl = own.row_nll(*rows, z), _kl(own.encode(*rows[:2])).sum(dim=1)
        torch.manual_seed(2)
        terms = own.loss(*rows)
    (their_nll,) = expected.reconstruction_loss.values()
    np.testing.assert_allclose(nll, their_nll, rtol=1e-5)
    np.testing.assert_allclose(kl, expected.kl_local["kl_divergence_z"], rtol=1e-5)
    np.testing.assert_allclose(terms["loss"], expected.loss, rtol=1e-5)


@pytest.mark.parametrize(("n_batches", "dispersion"), [(1, "gene"), (2, "gene-batch")])
@pytest.mark.parametrize("likelihood", ["nb", "poisson"])
def test_a_training_step_agrees(likelihood, n_batches, dispersion, linear_scvi, cells):
    """Without dropout, whose noise is its own: loss, gradients, and statistics of normalisation."""
    network = theirs(
        linear_scvi, cells, n_batches, gene_likelihood=likelihood, dispersion=dispersion,
        dropout_rate=0.0,
    ).train()  # fmt: skip
    own = ours(network, n_batches, dropout=0.0).train()
    expected, _ = their_terms(network, cells)
    torch.manual_seed(2)
    terms = own.loss(*our_minibatch(cells, n_batches))
    np.testing.assert_allclose(terms["loss"].detach(), expected.loss.detach(), rtol=1e-5)
    expected.loss.backward()
    terms["loss"].backward()
    first, norm = network.z_encoder.encoder.fc_layers[0][:2]
    linear, decoder_norm = network.decoder.factor_regressor.fc_layers[0][:2]
    pairs = [
        (own.hidden, first.weight.grad.T), (own.norm.weight, norm.weight.grad),
        (own.loc.weight, network.z_encoder.mean_encoder.weight.grad),
        (own.log_variance.weight, network.z_encoder.var_encoder.weight.grad),
        (own.logits.weight, linear.weight.grad),
        (own.decoder_norm.bias, decoder_norm.bias.grad),
    ]  # fmt: skip
    if likelihood == "nb":
        pairs.append((own.log_theta, network.px_r.grad.t()))
    for parameter, gradient in pairs:
        scale = float(gradient.abs().max())
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5 * scale)
    for mine, other in ((own.norm, norm), (own.decoder_norm, decoder_norm)):
        torch.testing.assert_close(mine.running_mean, other.running_mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(mine.running_var, other.running_var, rtol=1e-5, atol=1e-6)


def test_loadings_of_genes_agree(linear_scvi, cells):
    """Theirs are not centred over genes."""
    from synthome.models.ldvae import LDVAEGenerator

    network = theirs(linear_scvi, cells, 1, n_latent=10).eval()
    generator = LDVAEGenerator(LDVAEConfig(n_latent=10))
    generator.network = ours(network, 1).eval()
    expected = network.get_loadings()
    np.testing.assert_allclose(
        generator.loadings, expected - expected.mean(axis=0), rtol=1e-4, atol=1e-6
    )
