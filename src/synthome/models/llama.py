"""A causal transformer of the Llama type, small enough for a laptop.

For tokens t_1 ... t_T with embeddings E, and layers l = 1 ... L:

    h = E[t] + P[slot]                                                   (1)
    h = h + O softmax(R(Q n(h)) R(K n(h))' / sqrt(d) + causal mask) V n(h)   (2)
    h = h + D (silu(G n(h)) * U n(h)),   n(h) = w h / rms(h)             (3)
    p(t_{i+1} | t_1 ... t_i) = softmax(E n(h_i))                         (4)

R turns queries and keys by their position (rotary embedding), so that attention depends on
distances alone. P is a departure: in a text of genes the i-th symbol always is the same gene, and a
vector for each slot tells it at once what distances tell it late. Without slots the network is
Llama, with the names of Hugging Face, so that weights of either load into the other.

Touvron et al. (2023), arXiv:2302.13971 (eqs. 2-4). Su et al. (2021), arXiv:2104.09864 (R). Zhang &
Sennrich (2019), arXiv:1910.07467 (n). Shazeer (2020), arXiv:2002.05202 (eq. 3). Ainslie et al.
(2023), arXiv:2305.13245 (fewer keys than queries). Press & Wolf (2017), arXiv:1608.05859 (one E).
"""

from typing import Self

import torch
from jaxtyping import Float, Int
from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from synthome.config import Config

START_SCALE = 0.02  # of weights and embeddings
Cache = list[tuple[Tensor, Tensor]]  # keys and values of each layer


class LlamaConfig(Config):
    """Sizes; those of SmolLM-135M, scaled down to 0.6 million parameters."""

    n_hidden: PositiveInt = 128
    n_layers: PositiveInt = 3
    n_heads: PositiveInt = 4
    n_key_heads: PositiveInt = 4
    n_feedforward: PositiveInt = 344
    rope_base: PositiveFloat = 10_000.0
    norm_eps: PositiveFloat = 1e-5
    tied: bool = True  # one E in eqs. 1 and 4
    checkpoint_layers: bool = False  # computed again in the backward pass: a third more time

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.n_hidden % (2 * self.n_heads) or self.n_heads % self.n_key_heads:
            raise ValueError(
                f"n_hidden {self.n_hidden} must be an even multiple of n_heads {self.n_heads}, and "
                f"n_heads one of n_key_heads {self.n_key_heads}"
            )
        return self


class Norm(nn.Module):
    """n of eq. 3."""

    def __init__(self, n: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(n)), eps

    def forward(self, h: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
        """Each row over its root mean square."""
        return functional.rms_norm(h, (h.shape[-1],), self.weight, self.eps)


class Attention(nn.Module):
    """The sum of eq. 2."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.width = config.n_hidden // config.n_heads
        of_keys = self.width * config.n_key_heads
        self.q_proj = nn.Linear(config.n_hidden, config.n_hidden, bias=False)
        self.k_proj = nn.Linear(config.n_hidden, of_keys, bias=False)
        self.v_proj = nn.Linear(config.n_hidden, of_keys, bias=False)
        self.o_proj = nn.Linear(config.n_hidden, config.n_hidden, bias=False)

    def forward(
        self,
        h: Float[Tensor, "n_obs length n_hidden"],
        turns: tuple[Tensor, Tensor],
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "n_obs length n_hidden"], tuple[Tensor, Tensor]]:
        """What each position gathers; and keys and values, those of the ``past`` first."""
        q, k, v = (
            projected.unflatten(-1, (-1, self.width)).transpose(1, 2)  # (n_obs, heads, length, d)
            for projected in (self.q_proj(h), self.k_proj(h), self.v_proj(h))
        )
        q, k = turn(q, *turns), turn(k, *turns)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        gathered = functional.scaled_dot_product_attention(
            q, k, v, is_causal=past is None, enable_gqa=k.shape[1] != q.shape[1]
        )
        return self.o_proj(gathered.transpose(1, 2).flatten(2)), (k, v)


class FeedForward(nn.Module):
    """The sum of eq. 3."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.n_hidden, config.n_feedforward, bias=False)
        self.up_proj = nn.Linear(config.n_hidden, config.n_feedforward, bias=False)
        self.down_proj = nn.Linear(config.n_feedforward, config.n_hidden, bias=False)

    def forward(self, h: Float[Tensor, "*rows n_hidden"]) -> Float[Tensor, "*rows n_hidden"]:
        """Each position on its own."""
        return self.down_proj(functional.silu(self.gate_proj(h)) * self.up_proj(h))


class Layer(nn.Module):
    """Eqs. 2 and 3."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = Norm(config.n_hidden, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = Norm(config.n_hidden, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self, h: Tensor, turns: tuple[Tensor, Tensor], past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """States of the next layer, and what later positions need of this one."""
        gathered, kept = self.self_attn(self.input_layernorm(h), turns, past)
        h = h + gathered
        return h + self.mlp(self.post_attention_layernorm(h)), kept


class Llama(nn.Module):
    """Eqs. 1-4; ``n_slots`` of 0 leaves P out."""

    def __init__(self, n_tokens: int, config: LlamaConfig, n_slots: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(n_tokens, config.n_hidden)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.norm = Norm(config.n_hidden, config.norm_eps)
        self.lm_head = None if config.tied else nn.Embedding(n_tokens, config.n_hidden)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=START_SCALE)
        for name, weight in self.named_parameters():  # so that the sum over layers keeps its size
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.data /= (2 * config.n_layers) ** 0.5
        self.slots = nn.Embedding(n_slots, config.n_hidden) if n_slots else None
        if self.slots is not None:
            nn.init.normal_(self.slots.weight, std=START_SCALE)

    def forward(
        self,
        tokens: Int[Tensor, "n_obs length"],
        slots: Int[Tensor, "n_obs length"] | None = None,
        cache: Cache | None = None,
    ) -> tuple[Float[Tensor, "n_obs length n_hidden"], Cache]:
        """n(h) of eq. 4 at each position, and the cache for tokens that follow these.

        With ``cache``, ``tokens`` is the one that follows what the cache was made of.
        """
        h = self.embed_tokens(tokens)
        if self.slots is not None:
            h = h + self.slots(slots)
        start = cache[0][0].shape[2] if cache else 0
        turns = self._turns(start, tokens.shape[1], h)
        kept: Cache = []
        for i, layer in enumerate(self.layers):
            if self.config.checkpoint_layers and torch.is_grad_enabled() and not cache:
                h, of_layer = checkpoint(layer, h, turns, None, use_reentrant=False)
            else:
                h, of_layer = layer(h, turns, cache[i] if cache else None)
            kept.append(of_layer)
        return self.norm(h), kept

    def logits(
        self, h: Float[Tensor, "*rows n_hidden"], tokens: slice = slice(None)
    ) -> Float[Tensor, "*rows n_tokens"]:
        """Log p of eq. 4 up to a constant, for the chosen tokens."""
        rows = self.embed_tokens if self.lm_head is None else self.lm_head
        return h @ rows.weight[tokens].T

    def _turns(self, start: int, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of R, (length, width of a head)."""
        width = self.config.n_hidden // self.config.n_heads
        steps = torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width
        places = torch.arange(start, start + length, device=like.device, dtype=torch.float32)
        angles = torch.outer(places, self.config.rope_base**-steps).repeat(1, 2)
        return angles.cos(), angles.sin()


def turn(
    x: Float[Tensor, "n_obs heads length d"],
    cosine: Float[Tensor, "length d"],
    sine: Float[Tensor, "length d"],
) -> Float[Tensor, "n_obs heads length d"]:
    """R of eq. 2: element i and i + d/2 of each vector, turned by its angle."""
    a, b = x.chunk(2, dim=-1)
    return x * cosine.to(x.dtype) + torch.cat([-b, a], dim=-1) * sine.to(x.dtype)
