"""Tiny random models and a tokenizer made on the spot, so that no test needs a download."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, PreTrainedTokenizerFast, Qwen3Config

import fission_grpo.policy.attention as attention
from fission_grpo.policy.template import hermes_template

torch.set_num_threads(1)  # tiny tensors: a second thread only costs


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte plus ChatML's two marks."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|im_start|>")
    fast.chat_template = hermes_template()
    return fast


def tiny_model(family: str, *, vocab: int = 64, seed: int = 0, dtype: torch.dtype = torch.float32):
    """A random two-layer model with grouped key/value heads."""
    shape = {
        "vocab_size": vocab,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 4096,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    config = {"llama": LlamaConfig, "qwen3": Qwen3Config, "gemma": GemmaConfig}[family](**shape)
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention.NAME).eval()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A random model and a byte tokenizer, as a user's local folder."""
    folder, tokenizer = tmp_path_factory.mktemp("model"), byte_tokenizer()
    model = tiny_model("qwen3", vocab=len(tokenizer))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = None
    model.generation_config.bos_token_id = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
