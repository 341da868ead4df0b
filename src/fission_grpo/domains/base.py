"""What a domain is: a class whose public methods are the tools and whose state is one pydantic model."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Container
from typing import Any, ClassVar, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from fission_grpo.chat import ToolCall, ToolSpec


class ToolError(Exception):
    """A tool refused a call. The message is what the model reads: what is wrong, never a traceback.

    A method raises before it changes anything: a failed call leaves the state as it was. The message is always one
    line, whatever the caller's values that it quotes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Argument(BaseModel):
    """Base of nested argument models: unknown keys and NaN are refused at every level, spaces around text dropped."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)


class Domain:
    """Base of all executable domains.

    A subclass sets `name` and `State`, and writes its tools as ordinary public methods: every parameter typed and
    described in the docstring's `Args:` section. Schemas derive from signatures (`Literal` becomes an enum,
    `Annotated[int, Field(ge=1)]` a range, a default an optional argument, an `Argument` a nested object). A defect of
    the class raises TypeError when the class is defined.
    """

    name: ClassVar[str]
    State: ClassVar[type[BaseModel]]
    _arguments: ClassVar[dict[str, type[BaseModel]]]
    _specs: ClassVar[dict[str, ToolSpec]]

    def __init__(self, state: BaseModel) -> None:
        self.state: Any = state

    def __init_subclass__(cls) -> None:
        cls._arguments, cls._specs = {}, {}
        for tool, method in vars(cls).items():
            if inspect.isfunction(method) and not tool.startswith("_"):
                cls._arguments[tool], cls._specs[tool] = _derive(cls.__name__, tool, method)

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A domain in a random but valid state, the same for the same seed."""
        raise NotImplementedError

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """A domain in the state that `snapshot` returned."""
        return cls(cls.State.model_validate(state))

    def snapshot(self) -> dict[str, Any]:
        """The state as JSON-ready data; equal snapshots mean equal states."""
        return self.state.model_dump(mode="json")

    @classmethod
    def specs(cls, names: list[str] | None = None) -> list[ToolSpec]:
        """Tool specs in OpenAI form, of all tools or of `names` in that order. Raises KeyError for an unknown name."""
        return [cls._specs[name] for name in (names if names is not None else cls._specs)]

    def call(self, call: ToolCall) -> Any:
        """Executes one call and returns its JSON-ready result. Raises ToolError, and only that, for a bad call."""
        model = self._arguments.get(call.name)
        if model is None:
            raise ToolError(f"unknown function '{call.name}'")
        try:
            # as JSON, so that strictness lets nested objects pass
            arguments = model.model_validate_json(json.dumps(call.arguments), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "arguments"
            if first["type"] == "extra_forbidden":
                raise ToolError(f"{call.name}: unknown argument '{where}'") from None
            raise ToolError(f"{call.name}: argument '{where}': {first['msg']}") from None
        values = {name: getattr(arguments, name) for name in model.model_fields}
        return getattr(self, call.name)(**values)

    def _new_id(self, prefix: str, counter: str, taken: Container[str]) -> str:
        """The next id that is not taken; the state's `counter` moves on."""
        number = getattr(self.state, counter)
        while (key := f"{prefix}{number}") in taken:
            number += 1
        setattr(self.state, counter, number + 1)
        return key


def _derive(owner: str, tool: str, method: Any) -> tuple[type[BaseModel], ToolSpec]:
    """Argument model and tool spec of one method. Raises TypeError for what is untyped or undocumented."""
    summary, described = _read_docstring(inspect.getdoc(method) or "")
    if not summary:
        raise TypeError(f"{owner}.{tool}: a tool needs a docstring that says what it does")
    hints = get_type_hints(method, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(method).parameters.items())[1:]:
        if name not in hints:
            raise TypeError(f"{owner}.{tool}: argument '{name}' has no type")
        if name not in described:
            raise TypeError(f"{owner}.{tool}: argument '{name}' is not described in the docstring's Args section")
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[name] = (hints[name], Field(default, description=described[name]))
    model: type[BaseModel] = create_model(tool, __base__=Argument, __doc__=None, **fields)
    schema = model.model_json_schema()
    for name, part in schema.get("$defs", {}).items():
        if "properties" in part and part.get("additionalProperties", True):
            raise TypeError(f"{owner}.{tool}: {name} must derive from Argument, or it takes unknown keys")
    parameters = _inlined(schema)
    parameters.setdefault("properties", {})
    parameters.setdefault("required", [])
    return model, {"type": "function", "function": {"name": tool, "description": summary, "parameters": parameters}}


def _read_docstring(doc: str) -> tuple[str, dict[str, str]]:
    """First paragraph and the `Args:` entries of a Google-style docstring; an entry may run over several lines."""
    head, _, rest = doc.partition("Args:")
    arguments = re.split(r"\n\s*(?:Returns|Raises):", rest)[0]
    entries = re.findall(r"^\s+(\w+):\s*(.+(?:\n(?!\s*\w+:).+)*)", arguments, flags=re.MULTILINE)
    return " ".join(head.split()), {name: " ".join(text.split()) for name, text in entries}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema with references written out, without what says nothing to a model that calls.

    That is pydantic's generated `title`s (names of properties stay), and that unknown keys are refused: all are.
    """
    definitions = schema.pop("$defs", {})

    def plain(part: Any) -> Any:
        if isinstance(part, list):
            return [plain(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            named = definitions[part["$ref"].rpartition("/")[2]]
            return plain(named | {key: value for key, value in part.items() if key != "$ref"})
        return {
            key: {name: plain(sub) for name, sub in value.items()} if key == "properties" else plain(value)
            for key, value in part.items()
            if not (key == "title" and isinstance(value, str)) and (key, value) != ("additionalProperties", False)
        }

    inlined: dict[str, Any] = plain(schema)
    return inlined
