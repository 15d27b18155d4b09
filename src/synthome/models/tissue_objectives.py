"""Terms that can join the loss of a tissue model: eqs. 6 and 7 of ``spatial_gvae``."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synthome.graph import Graph


def student_t(
    z: Float[Tensor, "n_obs n_latent"], centres: Float[Tensor, "k n_latent"]
) -> Float[Tensor, "n_obs k"]:
    """Q of eq. 6; each row sums to 1."""
    near = 1.0 / (1.0 + torch.cdist(z, centres).square())
    return near / near.sum(dim=-1, keepdim=True)


def clustering_loss(
    q: Float[Tensor, "n_obs k"], share_of_centre: Float[Tensor, " k"]
) -> Float[Tensor, ""]:
    """KL(p || q) of eq. 6 in nats per spot, with the sums over all spots given."""
    p = (q.square() / share_of_centre).detach()
    p = p / p.sum(dim=-1, keepdim=True)
    return (p * (p.clamp_min(1e-12).log() - q.clamp_min(1e-12).log())).sum(dim=-1).mean()


def neighbour_contrast(
    z: Float[Tensor, "n_obs n_latent"], graph: Graph, temperature: float
) -> Float[Tensor, ""]:
    """Eq. 7: one neighbour of each spot, drawn at random, against all spots of the minibatch.

    Spots of which no neighbour is in the minibatch are left out.
    """
    inside = (graph.indices < len(z)) & (graph.indices != graph.targets)
    target, source = graph.targets[inside], graph.indices[inside]
    if not len(target):
        return z.sum() * 0.0
    key = target + torch.rand(len(target), device=z.device)  # by target, at random within one
    order = key.double().argsort()
    target, source = target[order], source[order]
    first = torch.ones_like(target, dtype=torch.bool)
    first[1:] = target[1:] != target[:-1]
    i, j = target[first], source[first]
    unit = nn.functional.normalize(z, dim=-1)
    similar = unit[i] @ unit.T / temperature
    own = torch.arange(len(i), device=z.device)
    similar = similar.index_put((own, i), similar.new_full((len(i),), -torch.inf))
    return nn.functional.cross_entropy(similar, j)
