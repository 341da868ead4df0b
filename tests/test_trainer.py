"""Algorithm 1 through the real trainer, on a tiny model that knows one right and one wrong call."""

import json
import os
import signal

import pytest
import torch
from conftest import byte_tokenizer, tiny_model

from fission_grpo.chat import Decision, Rollout, ToolCall, fingerprint, tool_message
from fission_grpo.feedback import STATIC_SENTENCE, diagnose
from fission_grpo.fission import Explored, FissionSettings
from fission_grpo.objective import ObjectiveSettings
from fission_grpo.policy import Policy, checkpoint
from fission_grpo.policy.checkpoint import CheckpointError
from fission_grpo.policy.load import LoraSettings, add_lora
from fission_grpo.policy.logprobs import response_logprobs
from fission_grpo.policy.sample import SamplingSettings
from fission_grpo.policy.template import Template
from fission_grpo.policy.update import OptimizerSettings
from fission_grpo.reward import RewardSettings
from fission_grpo.toolcall import render
from fission_grpo.trainer import Trainer, TrainerError, TrainingSettings

RIGHT, WRONG = ToolCall("on"), ToolCall("off")
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "", "parameters": {"type": "object"}}}
    for name in ("on", "off")
]
SHORT_TEMPLATE = (
    "{% for t in tools or [] %}{{ t.function.name }} {% endfor %}"
    "{% for m in messages %}[{{ m.role[0] }}]{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments }}}\n</tool_call>{% endfor %}'
    "{% if m.role == 'assistant' %}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[a]{% endif %}"
)
ASKS = ["light on", "lamp on", "turn it on", "on please"]


def decision(number: int) -> Decision:
    return Decision(
        id=f"d{number}",
        domain="none",
        tools=TOOLS,
        messages=[{"role": "user", "content": ASKS[number]}],
        target=[RIGHT.to_openai()],
    )


DECISIONS = [decision(i) for i in range(len(ASKS))]


def make_template() -> Template:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = SHORT_TEMPLATE
    return Template(tokenizer)


def turn(template: Template, call: ToolCall) -> Rollout:
    ids = tuple(template.tokenizer(render([call]), add_special_tokens=False)["input_ids"])
    ids += (template.tokenizer.eos_token_id,)
    return Rollout(render([call]), ids, (0.0,) * len(ids))


@pytest.fixture(scope="module")
def taught() -> dict[str, torch.Tensor]:
    """Weights of a model that says RIGHT or WRONG with about even odds, whatever it was told."""
    template = make_template()
    model = tiny_model("llama", vocab=len(template.tokenizer))
    right, wrong = turn(template, RIGHT), turn(template, WRONG)
    contexts = [template.encode(d.messages, d.tools) for d in DECISIONS]
    contexts += [template.extend(c, wrong, [tool_message(STATIC_SENTENCE)]) for c in contexts]
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    everything = SamplingSettings(temperature=1.0, top_k=0)
    rate = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, total_iters=320)
    for step in range(320):
        responses = [right.ids, wrong.ids]
        loss = -response_logprobs(model, [contexts[step % len(contexts)]], [responses], everything).sum(dim=1).mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        rate.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


class Recorded:
    """A trainer with everything it reported."""

    def __init__(
        self,
        taught,
        tmp_path,
        *,
        lora=True,
        updates=10,
        save_every=100,
        beta=0.0,
        decay="constant",
        warmup=0.0,
        **fission,
    ):
        template = make_template()
        model = tiny_model("llama", vocab=len(template.tokenizer))
        model.load_state_dict(taught)
        model.generation_config.eos_token_id = None  # the tokenizer's own mark ends a turn
        torch.manual_seed(7)
        model = add_lora(model.requires_grad_(False), LoraSettings(r=4, alpha=8)) if lora else model
        sampling = SamplingSettings(temperature=1.0, top_k=0, max_new_tokens=64)
        self.policy = Policy(model, template, sampling, seed=3)
        training = TrainingSettings(updates=updates, batch_size=2, group_size=6, save_every=save_every)
        optimizer = OptimizerSettings(lr=1e-2 if lora else 3e-4, decay=decay, warmup=warmup)
        self.policy.learn(optimizer, ObjectiveSettings(beta=beta), training.updates)
        self.metrics: list[dict] = []
        self.groups: list[list[Explored]] = []
        self.folder = tmp_path / "checkpoints"
        self.trainer = Trainer(
            self.policy,
            DECISIONS,
            lambda failure: diagnose(failure, {}),
            training=training,
            fission=FissionSettings(**{"delta": 1.0, "batch_size": 2, "group_size": 6, **fission}),
            reward=RewardSettings(),
            seed=3,
            on_update=self.on_update,
            save=lambda: self.policy.save(
                self.folder / f"step-{self.trainer.updates.total():06d}", self.trainer.state()
            ),
        )

    def on_update(self, metrics, groups):
        self.metrics.append(metrics)
        self.groups.append(groups)

    def resume(self):
        self.trainer.load_state(self.policy.restore(checkpoint.latest(self.folder)))
        return self

    def chance(self, context: tuple[int, ...], rollout: Rollout) -> float:
        with torch.no_grad():
            return float(
                response_logprobs(self.policy.network, [context], [[rollout.ids]], self.policy.sampling).sum().exp()
            )

    def corrective_context(self) -> tuple[int, ...]:
        template = self.policy.template
        ids = template.encode(DECISIONS[0].messages, DECISIONS[0].tools)
        return template.extend(ids, turn(template, WRONG), [tool_message(STATIC_SENTENCE)])


def timeless(metrics):
    return [{k: v for k, v in line.items() if not k.startswith("seconds/")} for line in metrics]


def test_the_probability_of_a_rewarded_recovery_rises(taught, tmp_path):
    run = Recorded(taught, tmp_path, updates=12)
    context, right = run.corrective_context(), turn(run.policy.template, RIGHT)
    before = run.chance(context, right)
    assert 0.1 < before < 0.9
    run.trainer.run()
    assert run.trainer.updates["fission"] >= 3
    assert run.chance(context, right) > before + 0.1


def test_fission_updates_train_on_the_newest_failures_as_sampled(taught, tmp_path):
    run = Recorded(taught, tmp_path, updates=12)
    held: list[str] = []
    run.trainer.run()
    for metrics, groups in zip(run.metrics, run.groups, strict=True):
        if metrics["stage"] == "fission":
            popped = [group.context.key for group in groups]
            assert popped == held[: -len(popped) - 1 : -1]  # newest first
            del held[-len(popped) :]
        for group in groups:
            for index, sample in group.samples.items():
                failed = group.scored[index].rollout.ids
                assert sample.ids[: len(group.context.ids) + len(failed)] == group.context.ids + failed
                assert sample.decision.target == group.context.decision.target
                held = [key for key in held if key != sample.key] + [sample.key]
    assert {m["stage"] for m in run.metrics} == {"standard", "fission"}
    assert all(m["recovery"] is None for m in run.metrics if m["stage"] == "standard")


def test_a_failed_recovery_is_fissioned_only_up_to_the_depth(taught, tmp_path):
    shallow = Recorded(taught, tmp_path / "a", updates=9, batch_size=4)
    shallow.trainer.run()
    deep = Recorded(taught, tmp_path / "b", updates=9, batch_size=4, max_depth=2)
    deep.trainer.run()

    def depths(run):
        return {group.context.depth for groups in run.groups for group in groups}

    assert depths(shallow) == {0, 1}
    assert depths(deep) == {0, 1, 2}


def test_the_interval_spaces_fission_updates(taught, tmp_path):
    run = Recorded(taught, tmp_path, updates=9, interval=2)
    run.trainer.run()
    stages = [m["stage"][0] for m in run.metrics]
    assert stages == ["s", "s", "f", "s", "s", "f", "s", "s", "f"]


def test_without_fission_it_is_grpo(taught, tmp_path):
    run = Recorded(taught, tmp_path, updates=4, enabled=False)
    run.trainer.run()
    assert {m["stage"] for m in run.metrics} == {"standard"}
    assert len(run.trainer.buffer) == 0


@pytest.mark.parametrize("lora", [True, False])
def test_a_resumed_run_equals_an_uninterrupted_one(taught, tmp_path, lora):
    settings = {
        "lora": lora,
        "updates": 8,
        "save_every": 5,
        "beta": 0.01,
        "decay": "cosine",
        "warmup": 0.25,
        "batch_size": 1,
    }
    whole = Recorded(taught, tmp_path / "whole", **settings)
    whole.trainer.run()
    killed = Recorded(taught, tmp_path / "killed", **settings)

    def die(metrics, groups):
        if metrics["update"] == 7:
            raise RuntimeError("killed")

    killed.trainer.on_update = die
    with pytest.raises(RuntimeError, match="killed"):
        killed.trainer.run()
    resumed = Recorded(taught, tmp_path / "killed", **settings).resume()
    assert len(resumed.trainer.buffer) > 0
    resumed.trainer.run()
    assert timeless(resumed.metrics) == timeless(whole.metrics[5:])
    assert checkpoint.checksum(resumed.policy.model) == checkpoint.checksum(whole.policy.model)


def test_sigint_finishes_the_update_and_saves(taught, tmp_path):
    run = Recorded(taught, tmp_path, updates=50)
    seen = run.on_update

    def interrupt(metrics, groups):
        seen(metrics, groups)
        if metrics["update"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    run.trainer.on_update = interrupt
    run.trainer.run()
    assert run.trainer.stopping
    # The signal may land within update 3's report or just after it; the update in hand is finished and saved.
    newest = checkpoint.latest(run.folder)
    assert newest is not None
    assert json.loads((newest / "state.json").read_text())["updates"] == dict(run.trainer.updates)
    assert run.trainer.updates.total() in (3, 4)


def test_a_full_disk_leaves_the_previous_checkpoint_intact(taught, tmp_path, monkeypatch):
    run = Recorded(taught, tmp_path, updates=2, save_every=1)
    run.trainer.run()
    before = checkpoint.latest(run.folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*earlier checkpoints are intact"):
        run.policy.save(run.folder / "step-000099", run.trainer.state())
    assert checkpoint.latest(run.folder) == before
    assert [path.name for path in run.folder.iterdir() if "99" in path.name] == []
    run.resume()


def test_a_damaged_checkpoint_is_one_clear_error(taught, tmp_path):
    run = Recorded(taught, tmp_path, updates=2, save_every=1)
    run.trainer.run()
    newest = checkpoint.latest(run.folder)
    weights = newest / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="could not read checkpoint"):
        run.resume()


def test_contexts_over_the_limit_are_skipped_and_named(taught, tmp_path):
    run = Recorded(taught, tmp_path)
    lengths = {d.id: len(run.policy.encode(d.messages, d.tools)) for d in DECISIONS}
    limit = sorted(lengths.values())[1]
    run.policy.sampling = run.policy.sampling.model_copy(update={"max_context_tokens": limit})
    contexts, skipped = run.trainer._encode(DECISIONS)
    assert skipped == [name for name, length in lengths.items() if length > limit]
    assert skipped
    assert len(contexts) + len(skipped) == len(DECISIONS)
    run.policy.sampling = run.policy.sampling.model_copy(update={"max_context_tokens": 3})
    with pytest.raises(ValueError, match="no decision fits"):
        run.trainer._encode(DECISIONS)


def test_resuming_on_other_data_is_refused(taught, tmp_path):
    run = Recorded(taught, tmp_path)
    state = run.trainer.state()
    run.trainer.fingerprint = fingerprint(DECISIONS[1:])
    with pytest.raises(TrainerError, match="not those that the run was started with"):
        run.trainer.load_state(state)


def test_the_last_update_is_always_saved(taught, tmp_path):
    run = Recorded(taught, tmp_path, updates=3, save_every=2)
    run.trainer.run()
    assert checkpoint.latest(run.folder).name == "step-000003"


def test_every_pass_sees_every_decision_once(taught, tmp_path):
    run = Recorded(taught, tmp_path)
    seen = []
    for step in range(4):
        run.trainer.updates["standard"] = step
        seen += [context.decision.id for context in run.trainer.next_contexts()]
    assert sorted(seen[:4]) == sorted(seen[4:]) == sorted(d.id for d in DECISIONS)
