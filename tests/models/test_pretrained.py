"""Checkpoints that transformers writes are read as it reads them, and tuned as the paper says."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from signature_cohort import cohort

from synthome.anndata_schema import labels
from synthome.errors import InputError
from synthome.models.llama import Llama, LlamaConfig
from synthome.models.omics_lm import OmicsLMConfig, OmicsLMGenerator
from synthome.models.pretrained import (
    PROJECTIONS,
    LoRALinear,
    PretrainedConfig,
    add_lora,
    checkpoint_folder,
    load_pretrained,
    merge_lora,
)
from synthome.models.registry import from_state
from synthome.rng import seeded

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of transformers
TOKENS = ["!", '"', "a", "é", " ", "<PAD>", "<EOS>", "<LABEL>", "<C0>", "<C1>"]


def write_checkpoint(folder, tied=True, shard="5GB"):
    """A tiny model and a byte-level tokenizer of 300 words, in the format of the hub."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig as TheirConfig
    from transformers import LlamaForCausalLM

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<EOS>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["genes and patients, genes and texts"] * 3, trainer)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    with seeded(0):
        model = LlamaForCausalLM(
            TheirConfig(
                vocab_size=tokenizer.get_vocab_size(),
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                rms_norm_eps=1e-5,
                tie_word_embeddings=tied,
                initializer_range=0.3,
            )
        )
    model.save_pretrained(folder, max_shard_size=shard)
    return model.eval(), tokenizer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    return folder, *write_checkpoint(folder)


def load(folder, n_slots=0, tokens=TOKENS, **options):
    with seeded(0):
        return load_pretrained(PretrainedConfig(path=str(folder), **options), tokens, n_slots, 8)


def agrees(network, theirs, tokenizer):
    """Logits of the tokens that both know, on a text of them."""
    ours = torch.tensor([[0, 2, 4, 1, 6, 0]])
    names = [TOKENS[i] for i in (0, 1, 2, 4, 6)]
    ids = [tokenizer.encode(name).ids[0] for name in names]
    at = dict(zip((0, 1, 2, 4, 6), ids, strict=True))
    with torch.no_grad():
        h, _ = network(ours, torch.arange(6)[None])
        found = network.logits(h)[..., [0, 1, 2, 4, 6]]
        expected = theirs(torch.tensor([[at[i] for i in ours[0].tolist()]])).logits[..., ids]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_checkpoint_gives_the_logits_of_transformers(checkpoint, tuning):
    """At the start LoRA changes nothing, and neither do slots."""
    folder, theirs, tokenizer = checkpoint
    agrees(load(folder, n_slots=8, tuning=tuning), theirs, tokenizer)


@pytest.mark.parametrize(("tied", "shard"), [(False, "5GB"), (True, "20KB"), (False, "20KB")])
def test_heads_of_their_own_and_weights_in_parts_are_read(tmp_path, tied, shard):
    theirs, tokenizer = write_checkpoint(tmp_path / "other", tied, shard)
    n_files = len(list((tmp_path / "other").glob("*.safetensors")))
    assert (n_files > 1) == (shard == "20KB")
    agrees(load(tmp_path / "other", tuning="full"), theirs, tokenizer)


def test_new_tokens_are_added_near_the_others(checkpoint):
    folder, theirs, tokenizer = checkpoint
    network = load(folder)
    assert len(network.embed_tokens.weight) == len(TOKENS)
    old = theirs.model.embed_tokens.weight
    new = network.embed_tokens.weight[TOKENS.index("<C0>")]
    assert len(tokenizer.encode("<C0>").ids) > 1
    assert (new - old.mean(dim=0)).abs().max() < old.std(dim=0).max()
    assert not torch.equal(new, network.embed_tokens.weight[TOKENS.index("<C1>")])


def test_a_letter_that_names_a_byte_of_the_tokenizer_is_a_new_token(checkpoint, caplog):
    """Byte-level tokenizers call byte 233 'é' and the space 'Ġ', and write é as two tokens."""
    folder, theirs, tokenizer = checkpoint
    assert None not in map(tokenizer.token_to_id, "éĠ")
    with caplog.at_level(logging.INFO):
        network = load(folder, tokens=["é", "Ġ", " ", "a"])
    assert "2 of 4 tokens have a row" in caplog.text
    old, new = theirs.model.embed_tokens.weight, network.embed_tokens.weight
    taken = [(old == row).all(dim=1).nonzero().ravel().tolist() for row in new]
    assert taken == [[], [], tokenizer.encode(" ").ids, tokenizer.encode("a").ids]


def test_a_space_before_words_is_no_part_of_a_symbol(checkpoint, tmp_path):
    """The tokenizer of Llama 1 and 2 writes ▁ for a space, and one before each text."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    folder, theirs, _ = checkpoint
    words = {"<unk>": 0, "a": 1, "▁a": 2, "▁": 3, "b": 4, "▁c": 5}
    tokenizer = Tokenizer(models.BPE(words, [("▁", "a")], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    copy = without(folder, tmp_path, "nothing")
    tokenizer.save(str(copy / "tokenizer.json"))
    new = load(copy, tokens=["a", " ", "b", "c"]).embed_tokens.weight
    old = theirs.model.embed_tokens.weight
    taken = [(old == row).all(dim=1).nonzero().ravel().tolist() for row in new]
    assert taken == [[1], [3], [4], []]


def test_lora_learns_adapters_embeddings_and_slots_alone(checkpoint):
    network = load(checkpoint[0], n_slots=8)
    names = {name for name, p in network.named_parameters() if p.requires_grad}
    adapters = {name for name in names if name.endswith((".a", ".b"))}
    assert len(adapters) == 2 * len(PROJECTIONS) * 2
    assert names - adapters == {"embed_tokens.weight", "slots.weight"}
    tokens = torch.randint(len(TOKENS), (4, 8))
    slots = torch.arange(8).expand_as(tokens)
    network.logits(network(tokens, slots)[0]).square().mean().backward()
    for name, p in network.named_parameters():
        assert (p.grad is not None) == (name in names), name


def test_lora_is_put_around_the_targets_alone(checkpoint):
    network = load(checkpoint[0], targets=("q_proj", "v_proj"), dropout=0.5)
    around = {name for name, m in network.named_modules() if isinstance(m, LoRALinear)}
    assert around == {f"layers.{i}.self_attn.{of}_proj" for i in (0, 1) for of in "qv"}
    with pytest.raises(ValueError, match="targets"):
        PretrainedConfig(path="a/b", targets=())


def test_dropout_leaves_out_of_the_difference_and_only_while_it_learns():
    with seeded(0):
        base = torch.nn.Linear(64, 3, bias=False)
        lora = LoRALinear(base, rank=2, alpha=4.0, dropout=0.5)
        torch.nn.init.normal_(lora.b)
        h = torch.randn(20_000, 64)[:1].expand(20_000, 64)
        learning, full = lora(h), lora.eval()(h)
    assert learning.std(dim=0).min() > 0.1
    torch.testing.assert_close(learning.mean(dim=0), full[0], rtol=0.0, atol=0.1)
    torch.testing.assert_close(full[0], base(h[0]) + 2.0 * lora.b @ (lora.a @ h[0]))
    torch.testing.assert_close(lora.merged()(h[0]), full[0])


def test_merging_changes_no_number_and_leaves_a_plain_network():
    with seeded(0):
        network = Llama(20, LlamaConfig(n_hidden=32, n_layers=1, n_heads=2, n_key_heads=2,
                                        n_feedforward=16))  # fmt: skip
        plain = set(network.state_dict())
        add_lora(network, rank=4, alpha=8.0)
        for module in network.modules():
            if isinstance(module, LoRALinear):
                torch.nn.init.normal_(module.b)
        tokens = torch.randint(20, (2, 5))
        before = network(tokens)[0]
        merge_lora(network)
    torch.testing.assert_close(network(tokens)[0], before, rtol=1e-4, atol=1e-5)
    assert set(network.state_dict()) == plain
    assert all(p.requires_grad for p in network.parameters())


def test_the_difference_has_the_rank_that_was_asked_for():
    with seeded(0):
        base = torch.nn.Linear(12, 9, bias=False)
        before = base.weight.detach().clone()
        lora = LoRALinear(base, rank=2, alpha=4.0)
        torch.nn.init.normal_(lora.b)
        after = lora.merged().weight
    torch.testing.assert_close(after, before + 2.0 * lora.b @ lora.a)
    assert torch.linalg.matrix_rank(after - before, atol=1e-5) == 2


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_omics_lm_is_trained_from_a_checkpoint_and_rebuilt_without_it(tmp_path, tuning):
    write_checkpoint(tmp_path / "tiny")
    config = {
        "n_genes": 12,
        "class_size": 200,
        "corruption": 0.0,
        "table": {"float_precision": 4},
        "pretrained": {"path": str(tmp_path / "tiny"), "tuning": tuning},
        "training": {"max_epochs": 6, "learning_rate": 1e-2, "warmup_steps": 5},
    }
    fitted = OmicsLMGenerator(OmicsLMConfig.model_validate(config)).fit(cohort())
    patients = cohort(seed=1)
    named = np.array(fitted.classes)[fitted.read(patients).argmax(axis=1)]
    assert (named == labels(patients)).mean() > 0.8
    state = fitted.state()
    shutil.rmtree(tmp_path / "tiny")
    np.testing.assert_allclose(from_state(state).read(patients), fitted.read(patients), atol=1e-6)


def without(folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "copy")
    for file in (tmp_path / "copy").glob(name):
        file.unlink()
    return tmp_path / "copy"


def test_pickled_weights_are_never_loaded(checkpoint, tmp_path):
    copy = without(checkpoint[0], tmp_path, "*.safetensors")
    with pytest.raises(InputError, match="no weights in"):
        load(copy)
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(InputError, match="Pickled ones are never loaded"):
        load(copy)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(checkpoint, tmp_path, name):
    with pytest.raises(InputError, match=f"{name} is not there or is damaged"):
        load(without(checkpoint[0], tmp_path, name))


def test_damaged_weights_are_said_so(checkpoint, tmp_path):
    copy = without(checkpoint[0], tmp_path, "nothing")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(InputError, match="is damaged"):
        load(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "gpt2"}, "of the type 'gpt2'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "scaled rotary"),
        ({"attention_bias": True}, "biases in its projections"),
        ({"hidden_act": "gelu"}, "another activation"),
        ({"head_dim": 16}, "heads of another width"),
        ({"hidden_size": 36, "head_dim": 9}, "not that of a Llama"),
        ({"num_hidden_layers": 3}, "weights are not in"),
        ({"intermediate_size": 64}, "has the shape"),
        ({"max_position_embeddings": 7}, "has 8 tokens.*reads 7 at most"),
    ],
)
def test_what_is_no_llama_of_this_kind_is_refused(checkpoint, tmp_path, change, said):
    copy = without(checkpoint[0], tmp_path, "nothing")
    facts = json.loads((copy / "config.json").read_text()) | change
    (copy / "config.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=said):
        load(copy)


def test_a_folder_that_is_not_there_and_a_hub_out_of_reach_are_told_apart(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no folder"):
        checkpoint_folder(str(tmp_path / "nowhere"))
    import huggingface_hub

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(InputError, match=r"could not be fetched.*OSError.*give the folder"):
        checkpoint_folder("HuggingFaceTB/SmolLM-1.7B")
    asked = []

    def fetched(name, *, allow_patterns):
        asked.append((name, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    assert checkpoint_folder("HuggingFaceTB/SmolLM-1.7B") == tmp_path
    assert asked == [("HuggingFaceTB/SmolLM-1.7B", ["*.json", "*.safetensors"])]  # and no pickle
