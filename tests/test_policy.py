"""Loading a policy and stepping it, precision by precision."""

import pytest
import torch
from conftest import byte_tokenizer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GptOssConfig

from fission_grpo.objective import ObjectiveSettings
from fission_grpo.policy import Group, Policy
from fission_grpo.policy.checkpoint import save_model
from fission_grpo.policy.load import LoraSettings, ModelError, ModelSettings, add_lora, load
from fission_grpo.policy.sample import SamplingSettings
from fission_grpo.policy.update import OptimizerSettings


@pytest.mark.parametrize("lora", [None, LoraSettings(r=2, alpha=4)])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_small_steps_reach_the_weights_whatever_the_precision(model_folder, dtype, lora):
    """In bf16, AdamW's step of 1e-6 on a weight of 0.3 would be rounded away; trained weights are fp32."""
    settings = ModelSettings(name=str(model_folder), dtype=dtype, lora=lora)
    policy = Policy.load(settings, SamplingSettings(max_new_tokens=8), trainable=True)
    trained = [p for p in policy.model.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    frozen = {p.dtype for p in policy.model.parameters() if not p.requires_grad}
    assert frozen <= {torch.bfloat16 if dtype == "bf16" else torch.float32}
    policy.learn(OptimizerSettings(lr=1e-6, warmup=0.0), ObjectiveSettings(beta=0.01), updates=10)
    before = [p.detach().clone() for p in trained]
    context = policy.encode([{"role": "user", "content": "hi"}], [])
    rollouts = policy.sample([context], 4, counter=0)[0]
    metrics = policy.update([Group(context, rollouts, [1.0, -1.0, 0.5, -0.5])])
    moved = sum(int((p != b).sum()) for p, b in zip(trained, before, strict=True))
    touched = sum(int((p.grad != 0).sum()) for p in trained if p.grad is not None)
    assert moved > 0.5 * touched > 0
    assert metrics["sampler_gap"] < (0.05 if dtype == "bf16" else 1e-4)
    assert metrics["lr"] == pytest.approx(1e-6)


def test_adapters_merge_in_order(model_folder, tmp_path):
    settings = ModelSettings(name=str(model_folder), dtype="fp32", lora=None)
    plain, _ = load(settings, trainable=False)
    for number in range(2):
        torch.manual_seed(number)
        model = add_lora(load(settings, trainable=False)[0], LoraSettings(r=2, alpha=4))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)
        (tmp_path / str(number)).mkdir()
        save_model(tmp_path / str(number), model, base="here")
        assert str(model_folder) not in (tmp_path / str(number) / "adapter_config.json").read_text()

    def weights(*adapters):
        merged, _ = load(settings.model_copy(update={"adapters": tuple(map(str, adapters))}), trainable=False)
        return merged.model.layers[0].mlp.up_proj.weight - plain.model.layers[0].mlp.up_proj.weight

    both = weights(tmp_path / "0", tmp_path / "1")
    torch.testing.assert_close(both, weights(tmp_path / "0") + weights(tmp_path / "1"), atol=1e-5, rtol=1e-4)
    assert both.abs().max() > 0.1


def test_a_damaged_model_is_one_clear_error(model_folder, tmp_path):
    for file in model_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot load model"):
        load(ModelSettings(name=str(tmp_path)), trainable=False)


def test_out_of_memory_says_what_to_lower(model_folder, monkeypatch):
    policy = Policy.load(ModelSettings(name=str(model_folder)), SamplingSettings(), trainable=True)
    policy.learn(OptimizerSettings(), ObjectiveSettings(), updates=1)

    def full(*_, **__):
        raise torch.OutOfMemoryError("tried to allocate 20 GiB")

    monkeypatch.setattr("fission_grpo.policy.sample", full)
    monkeypatch.setattr("fission_grpo.policy.backward", full)
    with pytest.raises(ModelError, match=r"contexts of up to 3 tokens: lower sampling.max_rows.*20 GiB"):
        policy.sample([(1, 2, 3)], 2, counter=0)
    with pytest.raises(ModelError, match=r"an update: lower optimizer.max_tokens.*20 GiB"):
        policy.update([])


def test_adafactor_keeps_next_to_no_state_and_resumes(model_folder, tmp_path):
    settings = ModelSettings(name=str(model_folder), lora=None)

    def made() -> Policy:
        policy = Policy.load(settings, SamplingSettings(max_new_tokens=8), trainable=True)
        policy.learn(OptimizerSettings(name="adafactor", lr=1e-3, warmup=0.0), ObjectiveSettings(beta=0.0), updates=10)
        return policy

    def step(policy: Policy) -> dict[str, float]:
        context = policy.encode([{"role": "user", "content": "hi"}], [])
        return policy.update([Group(context, policy.sample([context], 2, counter=0)[0], [1.0, -1.0])])

    first = made()
    step(first)
    first.save(tmp_path / "step-000001", {})
    kept = sum(p.numel() for p in load_file(tmp_path / "step-000001" / "optimizer.safetensors").values())
    assert kept < sum(p.numel() for p in first.model.parameters()) / 10
    again = made()
    again.restore(tmp_path / "step-000001")
    assert step(again) == step(first)


def test_attention_that_sdpa_cannot_compute_is_not_computed_with_it(tmp_path):
    config = GptOssConfig(
        vocab_size=258, hidden_size=32, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4, head_dim=8,
        num_key_value_heads=2, num_local_experts=2, num_experts_per_tok=1,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    ids = torch.tensor([[5, 9, 200, 31]])
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager", dtype=torch.float32)
    model, _ = load(ModelSettings(name=str(tmp_path), dtype="fp32", lora=None), trainable=False)
    torch.testing.assert_close(model(ids).logits, plain(ids).logits)
