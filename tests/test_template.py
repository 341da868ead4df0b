"""Chat templates: contexts that grow by appending ids read as if rendered at once; one test per template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trl
from conftest import byte_tokenizer
from tokenizers.processors import TemplateProcessing

from fission_grpo.chat import Decision, Message, Rollout, ToolCall, assistant_message, tool_message
from fission_grpo.policy.template import Ids, Template, TemplateError, hermes_template
from fission_grpo.toolcall import render

TRL = Path(trl.__file__).parent / "chat_templates"
EMPTY_THINK = "<think>\n\n</think>\n\n"

CHATML = {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}
LLAMA = {"eos_token": "<|eot_id|>", "bos_token": "<|begin_of_text|>"}
MARKS = ["<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|endoftext|>"]

AFTER_CHATML = "<|im_end|>\n<|im_start|>user\n<tool_response>\n{0}\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
AFTER_LFM = (
    "<|im_end|>\n<|im_start|>tool\n<|tool_response_start|>{0}<|tool_response_end|><|im_end|>\n<|im_start|>assistant\n"
)
AFTER_LLAMA = (
    "<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n{1}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
AFTER = {
    "hermes": AFTER_CHATML,
    "qwen3": AFTER_CHATML,
    "qwen3_instruct_2507": AFTER_CHATML,
    "qwen3_5_nothink": AFTER_CHATML + EMPTY_THINK,
    "qwen2_5": AFTER_CHATML,
    "llama3_1": AFTER_LLAMA,
    "lfm2_v2": AFTER_LFM,
}
"""What each template puts after an assistant turn that a tool answers with {0} (as a JSON string: {1})."""
HERMES_CALLS = ("hermes", "qwen3", "qwen3_instruct_2507", "qwen2_5")
"""Templates whose calls are what `toolcall` renders and parses."""

EVERY = pytest.mark.parametrize("name", AFTER)

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "set_heating",
            "description": "Wärme & <Licht>.",
            "parameters": {
                "type": "object",
                "properties": {"room": {"type": "string"}, "celsius": {"type": "number", "default": 21.5}},
                "required": ["room"],
            },
        },
    },
    {"type": "function", "function": {"name": "ping", "description": "", "parameters": {}}},
]
SYSTEM: Message = {"role": "system", "content": "Be brief."}
USER: Message = {"role": "user", "content": "Wärme die Küche, bitte."}
CALL = ToolCall("set_heating", {"room": "Küche", "celsius": 21.5, "tags": ["a", {"b": None}]})
PING = ToolCall("ping")


def template(name: str, **options: Any) -> Template:
    """The template on a tokenizer that, as Llama's does, would put a BOS before every text it is given."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({**(LLAMA if name == "llama3_1" else CHATML), "additional_special_tokens": MARKS})
    bos = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = (
        hermes_template() if name == "hermes" else (TRL / f"{name}.jinja").read_text(encoding="utf-8")
    )
    return Template(tokenizer, options)


def ids_of(on: Template, text: str) -> Ids:
    return tuple(on.tokenizer(text, add_special_tokens=False)["input_ids"])


def text_of(on: Template, ids: Ids) -> str:
    return on.tokenizer.decode(ids, skip_special_tokens=False)


def said(on: Template, text: str, finished: bool = True) -> Rollout:
    """A turn as a policy samples it."""
    ids = ids_of(on, text) + ((on.tokenizer.eos_token_id,) if finished else ())
    return Rollout(text, ids, (0.0,) * len(ids), finished)


def at_once(on: Template, messages: list[Message], generate: bool = True) -> str:
    """The whole dialogue rendered by the tokenizer itself; arguments as objects, which every template understands."""
    plain = json.loads(json.dumps(messages))
    for message in plain:
        for entry in message.get("tool_calls", []):
            entry["function"]["arguments"] = json.loads(entry["function"]["arguments"])
    return on.tokenizer.apply_chat_template(plain, tools=TOOLS, tokenize=False, add_generation_prompt=generate)


def call_text(on: Template, *calls: ToolCall) -> str:
    """The calls in the template's own form."""
    decision = Decision(
        id="d", domain="none", tools=TOOLS, messages=[SYSTEM, USER], target=[call.to_openai() for call in calls]
    )
    return on.reference(decision).removeprefix(EMPTY_THINK)


# --- encode


@EVERY
def test_encode_is_the_template_and_ends_where_the_assistant_begins(name: str) -> None:
    on = template(name)
    for messages in ([USER], [SYSTEM, USER], [SYSTEM, USER, assistant_message("", [CALL]), tool_message("{}")]):
        text = text_of(on, on.encode(messages, TOOLS))
        assert text == at_once(on, messages)
        assert text.endswith(AFTER[name].rsplit("\n<|im_start|>" if name != "llama3_1" else "<|eot_id|>", 1)[1])
        assert "set_heating" in text
    without = text_of(on, on.encode([SYSTEM, USER], []))
    assert "set_heating" not in without
    assert "tool" not in without.lower()


# --- extend


@EVERY
def test_extend_reads_like_the_dialogue_rendered_at_once(name: str) -> None:
    on = template(name)
    answer = '{"celsius":21.5}'
    turn = call_text(on, CALL)
    ids = on.extend(on.encode([SYSTEM, USER], TOOLS), said(on, turn), [tool_message(answer)])
    dialogue = [SYSTEM, USER, assistant_message("", [CALL]), tool_message(answer)]
    assert text_of(on, ids) == at_once(on, dialogue)
    # a second turn on top: words, answered by the user
    ids = on.extend(ids, said(on, "It is warm."), [{"role": "user", "content": "And now?"}])
    again = [*dialogue, assistant_message("It is warm.", []), {"role": "user", "content": "And now?"}]
    if name == "qwen3_5_nothink":  # its generation prompt is no part of how it renders past turns
        assert text_of(on, ids).replace(EMPTY_THINK, "") == at_once(on, again).replace(EMPTY_THINK, "")
    else:
        assert text_of(on, ids) == at_once(on, again)


@EVERY
@pytest.mark.parametrize(
    "turn",
    [
        '<tool_call>{"name": broken',
        '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call></tool_call>',
        "<think>\nHm.\n</think>\n\n" + render([CALL]),
        "<think>never closed",
        "",
        "  spaces stay \n\n",
        "{{ messages }} {% endif %} ␟",
    ],
)
def test_a_turn_stays_token_for_token_as_sampled(name: str, turn: str) -> None:
    on = template(name)
    before, rollout, feedback = on.encode([SYSTEM, USER], TOOLS), said(on, turn), "ERROR: no such room"
    ids = on.extend(before, rollout, [tool_message(feedback)])
    assert ids[: len(before)] == before
    assert ids[len(before) : len(before) + len(rollout.ids)] == rollout.ids
    end = on.tokenizer.eos_token
    after = AFTER[name].format(feedback, json.dumps(feedback)).removeprefix(end)
    assert text_of(on, ids[len(before) + len(rollout.ids) :]) == after


@EVERY
def test_ids_that_no_text_gives_are_kept(name: str) -> None:
    """Half a character, and a split the tokenizer would not make."""
    on = template(name)
    odd = (*ids_of(on, "Kü")[:2], *ids_of(on, "x"), on.tokenizer.eos_token_id)
    before = on.encode([USER], TOOLS)
    ids = on.extend(before, Rollout("K\ufffdx", odd, (0.0,) * 4), [tool_message("ok")])
    assert ids[len(before) : len(before) + 4] == odd


@EVERY
def test_the_end_of_turn_is_there_exactly_once(name: str) -> None:
    on = template(name)
    before, end = on.encode([USER], TOOLS), on.tokenizer.eos_token_id
    finished = on.extend(before, said(on, "Hm"), [tool_message("ok")])
    cut_off = on.extend(before, said(on, "Hm", finished=False), [tool_message("ok")])
    silent = on.extend(before, Rollout("", (), (), finished=False), [tool_message("ok")])
    assert finished == cut_off
    place = len(before) + len(ids_of(on, "Hm"))
    assert [finished[place], finished[place + 1] == end] == [end, False]
    assert silent == before + finished[place:]


def test_another_end_of_turn_than_the_templates_is_kept_too() -> None:
    on = template("hermes")
    other = on.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    rollout = Rollout("Hm", (*ids_of(on, "Hm"), other), (0.0,) * 3)
    text = text_of(on, on.extend((), rollout, [tool_message("ok")]))
    assert text == "Hm<|endoftext|>" + AFTER_CHATML.format("ok")


@EVERY
def test_several_answers_follow_one_turn(name: str) -> None:
    on = template(name)
    answers = [tool_message("one"), tool_message("two"), tool_message("three")]
    ids = on.extend(on.encode([SYSTEM, USER], TOOLS), said(on, "Hm."), answers)
    assert text_of(on, ids) == at_once(on, [SYSTEM, USER, assistant_message("Hm.", []), *answers])
    if AFTER[name].startswith(AFTER_CHATML):
        responses = "\n".join(f"<tool_response>\n{said}\n</tool_response>" for said in ("one", "two", "three"))
        assert text_of(on, ids).count("<|im_start|>user\n" + responses + "<|im_end|>\n") == 1


def test_answers_are_not_confused_with_one_another() -> None:
    on = template("hermes")
    texts = {
        text_of(on, on.extend((), said(on, "a"), messages))
        for messages in (
            [tool_message("x")],
            [tool_message("y")],
            [{"role": "user", "content": "x"}],
            [tool_message("x"), tool_message("x")],
        )
        for _ in range(2)
    }
    assert len(texts) == 4


# --- calls


@EVERY
def test_string_arguments_and_objects_render_the_same(name: str) -> None:
    on = template(name)
    as_string = CALL.to_openai()
    as_object = {**as_string, "function": {"name": CALL.name, "arguments": CALL.arguments}}
    spaceless = {
        **as_string,
        "function": {"name": CALL.name, "arguments": json.dumps(CALL.arguments, separators=(",", ":"))},
    }
    texts = {
        text_of(
            on, on.encode([USER, {"role": "assistant", "content": "", "tool_calls": [entry]}, tool_message("1")], TOOLS)
        )
        for entry in (as_string, as_object, spaceless)
    }
    assert len(texts) == 1
    assert "\\" not in texts.pop()  # no JSON within a JSON string


@pytest.mark.parametrize("name", HERMES_CALLS)
def test_the_template_renders_calls_as_toolcall_does(name: str) -> None:
    on = template(name)
    assert call_text(on, CALL) == render([CALL])
    assert call_text(on, CALL, PING) == render([CALL, PING])


def test_the_reference_of_a_turn_without_calls_is_its_words() -> None:
    decision = Decision(id="d", domain="none", tools=TOOLS, messages=[USER], target=[], reference="Which room?")
    assert template("hermes").reference(decision) == "Which room?"
    assert template("llama3_1").reference(decision) == "Which room?"
    assert template("qwen3").reference(decision) == EMPTY_THINK + "Which room?"
    assert template("qwen3", enable_thinking=False).reference(decision) == "Which room?"
    assert template("hermes").length("Küche") == 6 + 1


def test_arguments_that_are_no_json_are_quoted_as_they_are() -> None:
    broken = {"id": "c", "type": "function", "function": {"name": "ping", "arguments": '{"room": '}}
    messages = [USER, {"role": "assistant", "content": "", "tool_calls": [broken]}, tool_message("ERROR: no")]
    on = template("hermes")
    assert '{"name": "ping", "arguments": {"room": }\n</tool_call>' in text_of(on, on.encode(messages, TOOLS))


# --- hermes.jinja against Qwen3's own

DIALOGUES: dict[str, list[Any]] = {
    "user": [USER],
    "system": [SYSTEM, USER],
    "words": [SYSTEM, USER, assistant_message("Which room?", []), USER],
    "call": [USER, assistant_message("", [CALL]), tool_message("{}")],
    "words and call": [USER, assistant_message("Let me see.", [CALL]), tool_message("ERROR: <no> & 'no'")],
    "two calls": [USER, assistant_message("", [CALL, PING]), tool_message("1"), tool_message("2")],
    "words and two calls": [USER, assistant_message("So.", [PING, CALL]), tool_message("1"), tool_message("2")],
    "two rounds": [
        *[SYSTEM, USER, assistant_message("", [PING]), tool_message("1"), assistant_message("", [CALL])],
        *[tool_message("2"), assistant_message("Done.", []), USER],
    ],
    "tool after words": [USER, assistant_message("Hm.", []), tool_message("ERROR: no call")],
    "null content": [USER, {"role": "assistant", "content": None, "tool_calls": [PING.to_openai()]}, tool_message("1")],
    "later system": [SYSTEM, USER, assistant_message("Yes?", []), SYSTEM, USER],
}


@pytest.mark.parametrize("dialogue", DIALOGUES)
@pytest.mark.parametrize("tools", [TOOLS, []], ids=["tools", "no tools"])
def test_hermes_is_qwen3_byte_for_byte(dialogue: str, tools: list[dict[str, Any]]) -> None:
    hermes, qwen3 = template("hermes"), template("qwen3")
    messages = DIALOGUES[dialogue]
    assert text_of(hermes, hermes.encode(messages, tools)) == text_of(qwen3, qwen3.encode(messages, tools))
    if messages[0] == SYSTEM:  # without one Qwen2.5 makes up its own
        qwen2_5 = template("qwen2_5")
        assert text_of(hermes, hermes.encode(messages, tools)) == text_of(qwen2_5, qwen2_5.encode(messages, tools))


# --- templates that cannot serve


def refusal(chat_template: str | None) -> str:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = chat_template
    with pytest.raises(TemplateError) as caught:
        Template(tokenizer)
    return str(caught.value)


def test_a_template_that_cannot_serve_is_refused() -> None:
    assert "no chat template" in refusal(None)
    assert "ignores tools" in refusal((TRL / "phi3.jinja").read_text(encoding="utf-8"))
    # Gemma 4 shows a tool's answer only beside the call it answers: feedback on a malformed call would vanish
    assert "drops a tool's answer" in refusal((TRL / "gemma4.jinja").read_text(encoding="utf-8"))
    # GPT-OSS raises there
    assert "refuses a dialogue" in refusal((TRL / "gptoss.jinja").read_text(encoding="utf-8"))


def test_a_dialogue_the_template_refuses_is_a_template_error() -> None:
    messages = [USER, assistant_message("", [CALL, PING]), tool_message("1"), tool_message("2")]
    with pytest.raises(TemplateError, match="single tool-calls"):
        template("llama3_1").encode(messages, TOOLS)
