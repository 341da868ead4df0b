"""The warm start's batches: trained on is all that the assistant said and nothing else, by the plain loss."""

import pytest
import torch
from conftest import byte_tokenizer, tiny_model
from helpers import small_tasks

from fission_grpo.data.trajectory import decisions
from fission_grpo.policy.sft import collate, trajectories
from fission_grpo.policy.template import Template

TEMPLATE = Template(byte_tokenizer(), {})


def test_a_trajectory_answers_what_its_decisions_say() -> None:
    (task,) = small_tasks(1)
    (example,) = trajectories(decisions(task), TEMPLATE)
    said = [token for token, on in zip(example["input_ids"], example["completion_mask"], strict=True) if on]
    text = TEMPLATE.tokenizer.decode(said)
    assert text == "".join(TEMPLATE.reference(decision) + "<|im_end|>" for decision in decisions(task))


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_the_loss_is_the_mean_over_assistant_tokens_of_ragged_rows(family: str) -> None:
    model = tiny_model(family)
    rows = [([3, 4, 5, 6, 7, 8, 9], [0, 0, 1, 1, 0, 0, 1]), ([3, 9, 2, 11], [0, 1, 1, 0]), ([5, 6], [0, 1])]
    batch = collate([{"input_ids": ids, "completion_mask": mask} for ids, mask in rows])
    assert (batch["labels"] != -100).sum() == 6
    plain = torch.cat(
        [
            -model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)[position - 1, ids[position]][None]
            for ids, mask in rows
            for position in range(len(ids))
            if mask[position]
        ]
    ).mean()
    torch.testing.assert_close(model(**batch, use_cache=False).loss, plain)
    assert batch["logits_to_keep"].tolist() == [0, 1, 2, 5]
