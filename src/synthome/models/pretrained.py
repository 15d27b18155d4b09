"""A pretrained language model of the Llama type as the network of omics_lm, whole or by LoRA.

A checkpoint in the Hugging Face format is a folder with ``config.json``, ``tokenizer.json`` and
weights in ``*.safetensors``. Of its vocabulary, the tokens that omics_lm writes and reads are all
that can ever occur: a token that the checkpoint has keeps its row of the embedding, the others are
added, and the rows of all other words are left on disk. An added row starts at the mean of the
checkpoint's rows, with a tenth of their spread as noise, so that no token is likelier than the
checkpoint says at the start.

LoRA keeps a weight W of the checkpoint and learns a difference of low rank:

    W' = W + (alpha / r) B A,   A (r x n_in) at random, B (n_out x r) at 0                 (1)

for the chosen projections of every layer, all by default; the rows of all our tokens and the slots
are learned too, and nothing else is.

Pickled weights (``pytorch_model.bin``) are never read. Hu et al. (2022), ICLR, arXiv:2106.09685
(eq. 1). Allal et al. (2024), SmolLM, huggingface.co/blog/smollm (the published choice).
"""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError
from torch import Tensor, nn

from synthome.config import Config
from synthome.errors import InputError
from synthome.models.llama import Llama, LlamaConfig

logger = logging.getLogger(__name__)
EXTRA = "pip install 'synthome[text]'"
Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)
NOISE = 0.1  # of the spread of the checkpoint's embedding, in added rows


class PretrainedConfig(Config):
    """Where the checkpoint is, a folder or a name on the hub, and how it is tuned.

    ``rank`` and ``alpha`` are r and alpha of eq. 1, ``targets`` the projections that it is put
    around, and ``dropout`` the share of what A is given that is left out while it learns.
    ``checkpoint_layers`` computes each layer again in the backward pass, which takes a third more
    time and a fraction of the memory.
    """

    path: str
    tuning: Literal["lora", "full"] = "lora"
    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    targets: tuple[Projection, ...] = Field(default=PROJECTIONS, min_length=1)
    checkpoint_layers: bool = False


class LoRALinear(nn.Module):
    """Eq. 1 around a linear map that is kept as it is."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / rank
        self.dropout = nn.Dropout(dropout)
        self.a = nn.Parameter(torch.empty(rank, base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))  # as nn.Linear starts

    def forward(self, h: Float[Tensor, "*rows n_in"]) -> Float[Tensor, "*rows n_out"]:
        """W' h."""
        return self.base(h) + self.scale * (self.dropout(h) @ self.a.T) @ self.b.T

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """W' as a plain map."""
        self.base.weight += self.scale * self.b @ self.a
        return self.base.requires_grad_(True)


def load_pretrained(
    config: PretrainedConfig, tokens: Sequence[str], n_slots: int, length: int
) -> Llama:
    """The network of a checkpoint, for ``tokens`` in the order given, ready to be tuned.

    ``length`` is that of the longest text.

    Raises
    ------
    InputError
        If the checkpoint is not there, is not of the Llama type, is damaged, or reads less.
    """
    folder = checkpoint_folder(config.path)
    facts = _json(folder, "config.json")
    shape = _shape(facts, folder).model_copy(update={"checkpoint_layers": config.checkpoint_layers})
    most = facts.get("max_position_embeddings", length)
    if length > most:
        raise InputError(
            f"A text has {length:,} tokens, label included, and the checkpoint {folder} reads "
            f"{most:,} at most. Use fewer genes (n_genes, or a shorter signature), larger patches "
            "(patch_size), or a checkpoint with a longer context."
        )
    known = _known_tokens(folder, tokens)
    logger.info(
        "%s: %d of %d tokens have a row in the checkpoint, the others are added.",
        folder.name, len(known), len(tokens),
    )  # fmt: skip
    network = Llama(len(tokens), shape, n_slots)
    if network.slots is not None:
        nn.init.zeros_(network.slots.weight)  # at the start, the network is the checkpoint
    _fill(network, folder, known)
    if config.tuning == "lora":
        add_lora(network, config.rank, config.alpha, config.dropout, config.targets)
    return network


def add_lora(
    network: Llama,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    targets: Sequence[Projection] = PROJECTIONS,
) -> None:
    """Put eq. 1 around ``targets``; of all else, embeddings and slots alone are learned."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for embedding in (network.embed_tokens, network.lm_head, network.slots):
        if embedding is not None:
            embedding.requires_grad_(True)
    for part in list(network.layers.modules()):
        for name, module in list(part.named_children()):
            if name in targets and isinstance(module, nn.Linear):
                setattr(part, name, LoRALinear(module, rank, alpha, dropout))


def merge_lora(network: nn.Module) -> None:
    """Plain weights that do the same, so that what is saved is a plain network."""
    for part in list(network.modules()):
        for name, module in list(part.named_children()):
            if isinstance(module, LoRALinear):
                setattr(part, name, module.merged())
    for parameter in network.parameters():
        parameter.requires_grad_(True)


def checkpoint_folder(path: str) -> Path:
    """A local folder as it is; anything else is a name on the hub, from which it is fetched."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise InputError(
            f"There is no folder {path} with a pretrained model. Give a folder in the Hugging Face "
            "format, or a name on the hub such as HuggingFaceTB/SmolLM-1.7B."
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError(f"Fetching a model from the hub needs: {EXTRA}.") from error
    try:
        return Path(snapshot_download(path, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:
        raise InputError(
            f"The model {path} could not be fetched from the hub ({type(error).__name__}). Without "
            "a connection, fetch it elsewhere (hf download NAME --local-dir FOLDER) and give the "
            "folder."
        ) from error


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder / name} is not there or is damaged; a checkpoint in the Hugging Face format "
            "has config.json, tokenizer.json and *.safetensors."
        ) from error
    return found


def _shape(facts: dict[str, Any], folder: Path) -> LlamaConfig:
    """Sizes, in our words; what would change the equations is refused."""
    kind = facts.get("model_type")
    if kind != "llama":
        raise InputError(
            f"The checkpoint {folder} is of the type {kind!r}; omics_lm reads the Llama type alone "
            "(model_type: llama), such as SmolLM, TinyLlama and Llama 1 and 2."
        )
    rope = facts.get("rope_parameters") or facts.get("rope_scaling") or {}
    refused = {
        "scaled rotary positions": rope.get("rope_type", rope.get("type", "default")) != "default",
        "biases in its projections": facts.get("attention_bias") or facts.get("mlp_bias"),
        "another activation than silu": facts.get("hidden_act", "silu") != "silu",
        "heads of another width": facts.get("head_dim")
        not in (None, facts.get("hidden_size", 0) // facts.get("num_attention_heads", 1)),
    }
    for what, is_so in refused.items():
        if is_so:
            raise InputError(f"The checkpoint {folder} has {what}, which omics_lm does not know.")
    try:
        n_heads = facts["num_attention_heads"]
        return LlamaConfig(
            n_hidden=facts["hidden_size"],
            n_layers=facts["num_hidden_layers"],
            n_heads=n_heads,
            n_key_heads=facts.get("num_key_value_heads") or n_heads,
            n_feedforward=facts["intermediate_size"],
            rope_base=rope.get("rope_theta", facts.get("rope_theta", 10_000.0)),
            norm_eps=facts.get("rms_norm_eps", 1e-6),
            tied=bool(facts.get("tie_word_embeddings", False)),
        )
    except (KeyError, ValidationError) as error:
        raise InputError(f"{folder / 'config.json'} is not that of a Llama: {error}.") from error


def _known_tokens(folder: Path, tokens: Sequence[str]) -> dict[int, int]:
    """Our number of each token that is a single one of the checkpoint, and its number there."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise InputError(f"Reading the tokenizer of a checkpoint needs: {EXTRA}.") from error
    _json(folder, "tokenizer.json")
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = ((ours, _single(theirs, token)) for ours, token in enumerate(tokens))
    return {ours: number for ours, number in found if number is not None}


def _single(theirs: Any, token: str) -> int | None:
    """The one token of a tokenizer that writes ``token`` after a letter, if there is one.

    A name is not enough: byte-level tokenizers call byte 233 'é' and the space 'Ġ', and others put
    a space before each text, which is no part of its first word. So it must read as ``token``.
    """
    letter = theirs.encode("a", add_special_tokens=False).ids
    after = theirs.encode("a" + token, add_special_tokens=False).ids
    alone = theirs.encode(token, add_special_tokens=False).ids
    before = theirs.decode(letter, skip_special_tokens=False)
    rest = after[len(letter) :] if after[: len(letter)] == letter else []
    for ids in ([theirs.token_to_id(token)], rest, alone):
        if len(ids) != 1 or ids[0] is None:
            continue
        if theirs.decode([*letter, ids[0]], skip_special_tokens=False) == before + token:
            return int(ids[0])
    return None


@torch.no_grad()
def _fill(network: Llama, folder: Path, known: dict[int, int]) -> None:
    """Weights from disk, in single precision, one tensor at a time."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = any(folder.glob("*.bin"))
        raise InputError(
            f"{folder} has no weights in *.safetensors. "
            + (
                "Pickled ones are never loaded, since they can run programs: convert them, or take "
                "a model that has safetensors."
                if pickled
                else "Fetch the whole checkpoint."
            )
        )
    wanted = dict(network.named_parameters())
    missing = {name for name in wanted if name != "slots.weight"}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (not a dict)
                    ours = name.removeprefix("model.")
                    if ours not in missing:
                        continue
                    values = opened.get_tensor(name).float()
                    if ours in ("embed_tokens.weight", "lm_head.weight"):
                        values = _rows(values, len(wanted[ours]), known, folder)
                    if values.shape != wanted[ours].shape:
                        raise InputError(
                            f"{name} in {file} has the shape {tuple(values.shape)}, and config.json"
                            f" says {tuple(wanted[ours].shape)}."
                        )
                    wanted[ours].copy_(values)
                    missing.discard(ours)
        except SafetensorError as error:
            raise InputError(f"{file} is damaged ({error}). Fetch it again.") from error
    if missing:
        raise InputError(
            f"{len(missing)} weights are not in the *.safetensors of {folder}, such as "
            f"{min(missing)}. Fetch the whole checkpoint."
        )


def _rows(
    theirs: Float[Tensor, "n_theirs n_hidden"], n: int, known: dict[int, int], folder: Path
) -> Float[Tensor, "n n_hidden"]:
    """Rows of our tokens: those of the checkpoint, and new ones around their mean."""
    if known and max(known.values()) >= len(theirs):
        raise InputError(f"The tokenizer of {folder} has more tokens than its embedding has rows.")
    result = theirs.mean(dim=0) + NOISE * theirs.std(dim=0) * torch.randn(n, theirs.shape[1])
    ours = torch.tensor(list(known), dtype=torch.int64)
    result[ours] = theirs[torch.tensor(list(known.values()), dtype=torch.int64)]
    return result
