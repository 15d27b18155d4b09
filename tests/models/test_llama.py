"""The network is Llama: same weights, same numbers as the implementation of Hugging Face."""

import pytest
import torch

from synthome.models.llama import Llama, LlamaConfig
from synthome.rng import seeded

SIZES = {"n_hidden": 32, "n_layers": 2, "n_heads": 4, "n_feedforward": 48}


def network(n_key_heads=4, n_slots=0, **changes):
    with seeded(0):
        config = LlamaConfig(**SIZES | {"n_key_heads": n_key_heads} | changes)
        made = Llama(50, config, n_slots)
        with torch.no_grad():
            for p in made.parameters():
                p.normal_(std=0.3)
    return made.eval()


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(50, (3, 11), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n_key_heads", [4, 2, 1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_logits_are_those_of_transformers(n_key_heads, tokens):
    from transformers import LlamaConfig as TheirConfig
    from transformers import LlamaForCausalLM

    ours = network(n_key_heads)
    theirs = LlamaForCausalLM(
        TheirConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=n_key_heads,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            attention_bias=False,
        )
    ).eval()
    missing, unexpected = theirs.model.load_state_dict(ours.state_dict(), strict=False)
    assert not missing
    assert not unexpected
    theirs.tie_weights()
    with torch.no_grad():
        expected = theirs(tokens).logits
        h, _ = ours(tokens)
        torch.testing.assert_close(ours.logits(h), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n_slots", "twice"), [(0, False), (20, False), (0, True)])
def test_one_token_at_a_time_with_a_cache_is_the_whole_sequence(n_slots, twice, tokens):
    """Also where layers are computed twice and gradients flow."""
    net = network(2, n_slots, checkpoint_layers=twice)
    slots = torch.arange(11).expand_as(tokens)
    with torch.set_grad_enabled(twice):
        whole, _ = net(tokens, slots)
        cache, parts = None, []
        for i in range(11):
            h, cache = net(tokens[:, i : i + 1], slots[:, i : i + 1], cache)
            parts.append(h)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-5)


def test_a_later_token_changes_nothing_before_it(tokens):
    net = network()
    changed = tokens.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 50
    with torch.no_grad():
        before, after = net(tokens)[0], net(changed)[0]
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().max() > 1e-3


def test_slots_tell_one_gene_from_another(tokens):
    net = network(n_slots=20)
    first = torch.arange(11).expand_as(tokens)
    with torch.no_grad():
        assert (net(tokens, first)[0] - net(tokens, first + 1)[0]).abs().max() > 1e-3


def test_layers_computed_twice_give_the_same_gradients(tokens):
    gradients = []
    for twice in (False, True):
        net = network(checkpoint_layers=twice)
        net.logits(net(tokens)[0]).square().mean().backward()
        gradients.append(net.layers[0].mlp.up_proj.weight.grad)
    torch.testing.assert_close(*gradients)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="n_hidden 30 must be an even multiple of n_heads 4"):
        LlamaConfig(**SIZES | {"n_hidden": 30})
