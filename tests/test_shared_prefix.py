"""The shared-prefix paths against plain references: one forward per row, and transformers' own `generate`."""

from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator
from conftest import byte_tokenizer, tiny_model
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM, Gemma3Config, MistralConfig, Qwen3Config

from fission_grpo.chat import Rollout
from fission_grpo.objective import ObjectiveSettings
from fission_grpo.policy import Policy
from fission_grpo.policy.attention import NAME, _attend, _attend_backward
from fission_grpo.policy.load import LoraSettings, add_lora
from fission_grpo.policy.logprobs import response_logprobs
from fission_grpo.policy.sample import HeldPrefixes, SamplingSettings, prefill, sample, warped
from fission_grpo.policy.template import Template
from fission_grpo.policy.unshared import _attends_to_everything, response_logprobs_unshared, unshareable
from fission_grpo.policy.update import Group, OptimizerSettings, backward

EVERYTHING = SamplingSettings(temperature=1.0, top_k=0)


def random_ids(count: int, seed: int, vocab: int = 64) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(2, vocab, (count,), generator=generator).tolist())


def with_lora(model):
    """A LoRA whose B is not zero, so that its gradients are not either."""
    model = add_lora(model, LoraSettings(r=4, alpha=8))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


HEAD = random_ids(90, seed=5)
FORESTS = {
    "one context": [(random_ids(23, seed=1), (5, 9, 3))],
    "responses of one token": [(random_ids(23, seed=1), (1, 1)), (random_ids(2, seed=2), (1,))],
    "a ragged group": [(random_ids(23, seed=1), (1, 12, 2, 2, 6))],
    "one token of context": [((7,), (4, 2))],
    "nothing in common": [(random_ids(n, seed=n), (3, 4)) for n in (5, 70, 140)],
    "a common beginning": [(HEAD + random_ids(n, seed=n), (3, n)) for n in (1, 4, 9)],
    "one context continues another": [(HEAD, (2, 5)), (HEAD + random_ids(80, seed=7), (4,)), (HEAD[:66], (3,))],
    "branches of branches": [
        (HEAD + random_ids(70, seed=a) + random_ids(5, seed=b), (3, 1)) for a in (1, 2) for b in (3, 4, 3)
    ],
}


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma"])
@pytest.mark.parametrize("adapted", ["lora", "full", "checkpointed"])
@pytest.mark.parametrize("forest", FORESTS)
@pytest.mark.parametrize("sampling", [EVERYTHING, SamplingSettings(temperature=0.7, top_k=10)])
def test_shared_contexts_give_the_log_probabilities_and_gradients_of_unshared_rows(family, adapted, forest, sampling):
    model = tiny_model(family)
    trained = with_lora(model) if adapted == "lora" else model.requires_grad_(True)
    network = trained.get_base_model() if adapted == "lora" else trained
    contexts = [context for context, _ in FORESTS[forest]]
    responses = [
        [random_ids(n, seed=100 * c + g) for g, n in enumerate(lengths)]
        for c, (_, lengths) in enumerate(FORESTS[forest])
    ]
    parameters = [p for p in trained.parameters() if p.requires_grad]

    results = []
    for compute in (response_logprobs, response_logprobs_unshared):
        if adapted == "checkpointed" and compute is response_logprobs:
            network.train().gradient_checkpointing_enable()
        logprobs = compute(network, contexts, responses, sampling)
        weights = torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(3))
        gradients = torch.autograd.grad((logprobs * weights).sum(), parameters, allow_unused=True)
        results.append((logprobs.detach(), gradients))
        network.eval()
    (shared, shared_gradients), (plain, plain_gradients) = results

    torch.testing.assert_close(shared, plain, atol=1e-5, rtol=1e-6)
    for a, b in zip(shared_gradients, plain_gradients, strict=True):
        if b is None:
            assert a is None
            continue
        assert (a - b).norm() <= 1e-4 * b.norm() + 1e-7


def test_a_rollout_never_sees_another_rollouts_tokens():
    model = tiny_model("qwen3")
    context, first = random_ids(11, seed=1), random_ids(6, seed=2)
    alone = response_logprobs(model, [context], [[first]], EVERYTHING)
    crowded = response_logprobs(model, [context], [[first[:3] + random_ids(4, seed=9), first]], EVERYTHING)
    torch.testing.assert_close(crowded[1, :6], alone[0], atol=1e-5, rtol=0)


def test_contexts_with_a_common_beginning_prefill_as_if_alone():
    model = tiny_model("llama")
    head = random_ids(80, seed=1)
    contexts = [head + random_ids(7, seed=2), random_ids(30, seed=3), head + random_ids(19, seed=4), head]
    prefix, logits = prefill(model, contexts)
    for row, ids in enumerate(contexts):
        alone, expected = prefill(model, [ids])
        torch.testing.assert_close(logits[row], expected[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(prefix.keys[1][row, :, -len(ids) :], alone.keys[1][0], atol=1e-5, rtol=1e-4)
        assert prefix.mask is not None
        assert int(prefix.mask[row].sum()) == len(ids)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma"])
def test_greedy_sampling_equals_generate(family):
    model = tiny_model(family)
    head = random_ids(70, seed=5)
    contexts = [head + random_ids(n, seed=n) for n in (3, 12, 25)] + [random_ids(40, seed=6)]
    greedy = SamplingSettings(temperature=0, max_new_tokens=24)
    drawn = sample(model, contexts, 2, greedy, eos=frozenset({1}), generator=torch.Generator())
    for ids, rows in zip(contexts, drawn, strict=True):
        out = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, eos_token_id=1, pad_token_id=1)
        expected = out[0, len(ids) :].tolist()
        assert rows[0][0] == rows[1][0] == expected


def test_a_context_that_continues_a_held_one_prefills_as_if_alone():
    model, held = tiny_model("qwen3"), HeldPrefixes()
    first = [random_ids(20, seed=1), random_ids(33, seed=2)]
    greedy = SamplingSettings(temperature=0, max_new_tokens=6)
    sample(model, first, 1, greedy, eos=frozenset(), generator=torch.Generator(), held=held)
    longer = [first[1] + random_ids(9, seed=3), random_ids(12, seed=4), first[0] + random_ids(1, seed=5)]
    assert held.take(first[1] + (5,)).length == 33
    warm = sample(model, longer, 1, greedy, eos=frozenset(), generator=torch.Generator(), held=held)
    cold = sample(model, longer, 1, greedy, eos=frozenset(), generator=torch.Generator())
    assert [rows[0][0] for rows in warm] == [rows[0][0] for rows in cold]
    assert held.take(first[0] + (5,)) is None


def test_rows_that_end_early_leave_the_others_alone():
    model = tiny_model("llama")
    contexts = [random_ids(9, seed=s) for s in range(5)]
    settings = SamplingSettings(temperature=0, max_new_tokens=20)
    alone = [
        sample(model, [ids], 1, settings, eos=frozenset(), generator=torch.Generator())[0][0][0] for ids in contexts
    ]
    ends = frozenset({alone[0][4], alone[3][9]})
    together = sample(model, contexts, 1, settings, eos=ends, generator=torch.Generator())
    for expected, rows in zip(alone, together, strict=True):
        ids, logprobs, finished = rows[0]
        stop = next((i + 1 for i, token in enumerate(expected) if token in ends), len(expected))
        assert ids == expected[:stop]
        assert len(logprobs) == stop
        assert finished == (stop < len(expected) or expected[-1] in ends)


def test_sampled_frequencies_match_the_softmax():
    model = tiny_model("qwen3", vocab=24)
    context = random_ids(8, seed=1, vocab=24)
    settings = SamplingSettings(temperature=1.5, top_k=8, max_new_tokens=1, max_rows=4000)
    generator = torch.Generator().manual_seed(0)
    rows = sample(model, [context], 4000, settings, eos=frozenset(), generator=generator)[0]
    counts = torch.bincount(torch.tensor([ids[0] for ids, _, _ in rows]), minlength=24)
    with torch.no_grad():
        logits = model(torch.tensor([context])).logits[0, -1]
    expected = warped(logits, 1.5, 8).exp()
    kept = expected > 0
    assert int(kept.sum()) == 8
    assert int(counts[~kept].sum()) == 0
    predicted = (expected[kept] / expected[kept].sum() * 4000).double()
    assert chisquare(counts[kept].numpy(), predicted.numpy()).pvalue > 0.01


def test_sampling_log_probabilities_are_those_of_the_update():
    model = tiny_model("llama")
    settings = SamplingSettings(temperature=0.8, top_k=12, max_new_tokens=16)
    contexts = [random_ids(30, seed=1), random_ids(17, seed=2)]
    drawn = sample(model, contexts, 3, settings, eos=frozenset({1}), generator=torch.Generator().manual_seed(4))
    logprobs = response_logprobs(model, contexts, [[tuple(ids) for ids, _, _ in rows] for rows in drawn], settings)
    for row, (ids, sampled, _) in zip(logprobs, [one for rows in drawn for one in rows], strict=True):
        torch.testing.assert_close(row[: len(ids)], torch.tensor(sampled), atol=1e-4, rtol=0)


def windowed_model():
    """Each token sees the 8 before it only: what comes before is not the same for every layer's row."""
    config = MistralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=8, bos_token_id=0, eos_token_id=1, pad_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation=NAME).eval()


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma"])
def test_what_cannot_share_is_found_by_trying(family):
    model = tiny_model(family)
    assert unshareable(model) is None
    model.set_attn_implementation("eager")  # takes no notice of the tree
    assert "differ by" in unshareable(model)
    assert "sliding window" in unshareable(windowed_model())


@pytest.mark.parametrize("adapted", ["lora", "full"])
def test_a_model_in_bf16_shares_too(adapted):
    model = tiny_model("qwen3", dtype=torch.float32 if adapted == "full" else torch.bfloat16)
    policy = Policy(
        with_lora(model.requires_grad_(False)) if adapted == "lora" else model.requires_grad_(True),
        Template(byte_tokenizer(), {}),
        SamplingSettings(temperature=1.0, top_k=0, max_new_tokens=8),
        autocast=True,
    )
    assert policy._shares
    contexts = [HEAD + random_ids(n, seed=n) for n in (3, 20)]
    drawn = policy.sample(contexts, 3, counter=0, held=HeldPrefixes())
    policy.learn(OptimizerSettings(gradient_checkpointing=True), ObjectiveSettings(beta=0.01), updates=1)
    groups = [Group(ids, rows, [1.0, 0.0, -1.0]) for ids, rows in zip(contexts, drawn, strict=True)]
    metrics = policy.update(groups)
    assert metrics["sampler_gap"] < 0.15
    assert metrics["grad_norm"] > 0
    assert not any(module.training for module in policy.model.modules())


def test_windows_are_seen_inside_a_model_of_several_parts():
    assert not _attends_to_everything(Gemma3Config())
    assert _attends_to_everything(Qwen3Config(use_sliding_window=False, sliding_window=8))


def test_the_kernels_of_other_devices_take_what_they_are_given():
    """No device is needed to see that PyTorch's operators accept the arguments and return the right shapes."""
    query, gradient = (torch.empty(1, 6, 5, 8, device="meta", dtype=torch.bfloat16) for _ in range(2))
    key, value = (torch.empty(1, 2, 7, 8, device="meta", dtype=torch.bfloat16) for _ in range(2))
    out, lse = _attend(query, key, value, False, 0.3)
    assert (out.shape, lse.shape) == (query.shape, query.shape[:-1])
    shares = _attend_backward(gradient, query, key, value, out, lse, False, 0.3)
    assert [share.shape for share in shares] == [query.shape, key.shape, value.shape]


def test_a_model_that_cannot_share_warns_once_and_samples_and_learns_all_the_same():
    model = windowed_model().requires_grad_(True)
    template = Template(byte_tokenizer(), {})
    settings = SamplingSettings(temperature=0, max_new_tokens=12)
    with pytest.warns(UserWarning, match="sliding window") as caught:
        policy = Policy(model, template, settings)
    assert len(caught) == 1
    contexts = [random_ids(n, seed=n) for n in (5, 30)]
    drawn = policy.sample(contexts, 2, counter=0)
    for ids, rows in zip(contexts, drawn, strict=True):
        out = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=1, pad_token_id=1)
        expected = tuple(out[0, len(ids) :].tolist())
        assert rows[0].ids == rows[1].ids == expected
        logits = model(torch.tensor([[*ids, *expected]])).logits[0, len(ids) - 1 : -1]
        plain = logits.log_softmax(-1)[torch.arange(len(expected)), list(expected)]
        torch.testing.assert_close(torch.tensor(rows[0].logprobs), plain, atol=1e-4, rtol=0)
    policy.learn(OptimizerSettings(lr=1e-3, warmup=0.0, decay="constant"), ObjectiveSettings(beta=0.0), updates=1)
    before = response_logprobs_unshared(model, contexts[:1], [[drawn[0][0].ids]], EVERYTHING).sum()
    policy.update([Group(contexts[0], drawn[0], [1.0, 1.0])])
    assert response_logprobs_unshared(model, contexts[:1], [[drawn[0][0].ids]], EVERYTHING).sum() > before


@pytest.mark.parametrize("max_tokens", [1, 150, 10_000])
def test_an_update_is_the_same_in_whatever_chunks(max_tokens):
    contexts = [HEAD + random_ids(n, seed=n) for n in (4, 11)] + [random_ids(20, seed=3)]
    rollouts = [
        [Rollout("", random_ids(n, seed=50 + n), (-4.0,) * n) for n in (3, 7)],
        [Rollout("", random_ids(n, seed=60 + n), (-4.0,) * n) for n in (1, 5, 2)],
        [Rollout("", random_ids(4, seed=70), (-4.0,) * 4)],
    ]
    advantages = [[1.0, -0.5], [0.3, -1.0, 0.4], [0.7]]

    def gradients(chunk: int, logprobs) -> list[torch.Tensor]:
        model = tiny_model("qwen3").requires_grad_(True)
        groups = [Group(*parts) for parts in zip(contexts, rollouts, advantages, strict=True)]
        backward(
            model, groups, ObjectiveSettings(beta=0.0), EVERYTHING, Accelerator(),
            reference=nullcontext, logprobs=logprobs, max_tokens=chunk,
        )  # fmt: skip
        return [parameter.grad for parameter in model.parameters()]

    plain = gradients(1, response_logprobs_unshared)
    for a, b in zip(gradients(max_tokens, response_logprobs), plain, strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm() + 1e-7
