"""The coherence check and the two verifiers, on a shop whose ambiguities are planted one by one."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

from fission_grpo.chat import Task, ToolCall, Turn
from fission_grpo.data.funnel import Judged, judge
from fission_grpo.data.trajectory import decisions, replay
from fission_grpo.data.verify import incoherence, replayed, unique
from fission_grpo.data.verify.visible import Visible
from fission_grpo.domains import DOMAINS, Domain, ToolError


class _Stock(BaseModel):
    names: dict[str, str]
    prices: dict[str, float]
    basket: list[str] = []
    paid: str | None = None


class _Shop(Domain):
    name = "verified_shop"
    State = _Stock

    def find(self, product: str) -> dict[str, Any]:
        """Look up a product.

        Args:
            product: Its name.
        """
        for key, name in self.state.names.items():
            if name == product:
                return {"id": key}
        raise ToolError(f"find: no '{product}'")

    def browse(self) -> list[str]:
        """List the ids of all products."""
        return list(self.state.names)

    def price(self, id: str) -> float:
        """Show a price.

        Args:
            id: From find.
        """
        if id not in self.state.prices:
            raise ToolError(f"price: no '{id}'")
        return self.state.prices[id]

    def add(self, id: str, count: int = 1) -> list[str]:
        """Put into the basket.

        Args:
            id: From find.
            count: How many.
        """
        if id not in self.state.names or not 0 < count < 50:
            raise ToolError(f"add: no '{id}'")
        self.state.basket += [id] * count
        return self.state.basket

    def total(self) -> float:
        """Show the basket's total."""
        return sum(self.state.prices[id] for id in self.state.basket)

    def describe(self, product_id: str) -> dict[str, Any]:
        """Show a product.

        Args:
            product_id: From find.
        """
        if product_id not in self.state.names:
            raise ToolError(f"describe: no '{product_id}'")
        return {"name": self.state.names[product_id], "id": product_id, "price": self.state.prices[product_id]}

    def details(self, id: str) -> dict[str, Any]:
        """Show a product's name and price.

        Args:
            id: From find.
        """
        if id not in self.state.names:
            raise ToolError(f"details: no '{id}'")
        return {"name": self.state.names[id], "price": self.state.prices[id]}

    def pay(self, method: Literal["cash", "card"]) -> str:
        """Pay the basket.

        Args:
            method: How.
        """
        if not self.state.basket:
            raise ToolError("pay: the basket is empty")
        self.state.paid = method
        return method


STATE = {"names": {"K12": "Kettle", "L34": "Lamp"}, "prices": {"K12": 31.5, "L34": 40}, "basket": [], "paid": None}


@pytest.fixture(autouse=True)
def _shop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOMAINS, _Shop.name, _Shop)


def turn(user: str, *steps: list[ToolCall], reply: str = "Done.", **more: Any) -> Turn:
    return Turn(user=user, steps=[[call.to_openai() for call in step] for step in steps], reply=reply, **more)


def task(*turns: Turn, tools: list[str] | None = None, state: dict[str, Any] = STATE) -> Task:
    return Task(
        id="t",
        domain=_Shop.name,
        tools=tools or ["find", "price", "add", "pay"],
        initial_state=state,
        turns=list(turns),
    )


def find(product: str) -> ToolCall:
    return ToolCall("find", {"product": product})


def add(id: str, **more: Any) -> ToolCall:
    return ToolCall("add", {"id": id, **more})


def pay(method: str) -> ToolCall:
    return ToolCall("pay", {"method": method})


BUY = turn("A Kettle please.", [find("Kettle")], [add("K12")])


def ambiguity(*turns: Turn, **more: Any) -> str | None:
    """The reason against the last turn."""
    whole = task(*turns, **more)
    found = unique(whole, decisions(whole))
    return found.get(f"t/{len(turns) - 1}.0")


def test_sound_tasks_pass_everything() -> None:
    judged = judge(task(BUY, turn("Now pay by card.", [pay("card")])))
    assert judged.sound
    assert len(judged.confirmed) == len(judged.decisions) == 5


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ("kettle", True), ("Kett", False), ("eco_mode", True), ("2026-03-02", True), ("15:30", True), ("00:05", True),
        ("2026-03-03", False), (31.5, True), (7, True), (3, True), (12, False), (15, True), (1234, False), (True, True),
        ([7, "Kettle"], True), ([7, 8], False), ({"a": "Kettle"}, True), ({"a": "Pot"}, False), (2026, True),
        (40, True),
    ],
)  # fmt: skip
def test_visible_values(value: Any, known: bool) -> None:
    said = "The Kettle, in eco mode, on March 2, 2026 at 3:30 pm or 12:05 am: 31.5 for 7 people, three of P1234, 15kg."
    assert Visible([said, '{"fee":40}']).knows(value) == known


def test_incoherent_dialogues_are_named() -> None:
    said = {
        "turn 0: add: nobody said the value of 'id', 'L34'": task(turn("A Lamp please.", [add("L34")])),
        "turn 0: the reference is refused: find: no 'Pot'": task(turn("A Pot.", [find("Pot")])),
        "turn 0: a sentence is empty or not filled in": task(turn("A {product}.", [find("Lamp")])),
        "turn 0: browse is not among the tools shown": task(turn("All?", [ToolCall("browse")])),
        "turn 0: the reply says what nothing shows: 'L34'": task(turn("Kettle?", [find("Kettle")], reply="It is L34.")),
        "turn 0: the reply says what nothing shows: 99.0": task(
            turn("Kettle?", [find("Kettle")], reply="That makes 99.")
        ),
        "turn 1: the user repeats a turn word for word": task(BUY, BUY),
        "turn 0: the parameter that should be missing is already known": task(
            turn("Find the Lamp.", reply="Which?", kind="missing_parameter"), turn("The Lamp.", [find("Lamp")])
        ),
        "turn 0: the parameter that should be missing is already known ": task(
            turn("Put a Kettle in.", reply="Which?", kind="missing_parameter"),
            turn("The Kettle.", [find("Kettle")], [add("K12")]),
        ),
        "turn 0: a turn of kind call has no calls": task(turn("What time is it?", reply="It is noon.")),
        "turn 0: a turn of kind missing_function has calls": task(
            turn("A Lamp.", [find("Lamp")], kind="missing_function")
        ),
        "turn 0: it is declined although its tools are shown, or nobody says which they would be": task(
            turn("Find the Lamp.", reply="I can't.", kind="missing_function", lacks=["find"])
        ),
        "turn 1: pay: nobody said the value of 'method', 'card'": task(BUY, turn("Now pay.", [pay("card")])),
        "turn 1: pay: nobody said the value of 'method', 'cash'": task(BUY, turn("Now pay by card.", [pay("cash")])),
        "turn 0: the reply says what nothing shows: '2027-01-01'": task(
            turn("Kettle?", [find("Kettle")], reply="By 2027-01-01.")
        ),
        "turn 0: the reply says what nothing shows: 'Lamp'": task(
            turn("Kettle?", [find("Kettle")], reply="No, a Lamp.")
        ),
    }
    assert {reason: incoherence(task) for reason, task in said.items()} == {reason: reason.strip() for reason in said}
    withheld = turn("Pay by card.", reply="I can't.", kind="missing_function", lacks=["pay"])
    assert incoherence(task(BUY, withheld, tools=["find", "add"])) is None
    asked = turn("Put some in.", reply="Some of what?", kind="missing_parameter")
    assert incoherence(task(asked, turn("The Kettle.", [find("Kettle")], [add("K12")], reply="3 things done."))) is None
    assert incoherence(task(BUY, turn("He's paying with cards.", [pay("card")]))) is None


def test_a_value_of_another_tool_call_in_the_same_step_is_not_known_yet() -> None:
    assert "nobody said" in str(incoherence(task(turn("A Kettle.", [find("Kettle"), add("K12")]))))


def test_ambiguous_turns_are_refuted() -> None:
    assert ambiguity(BUY) is None
    assert "is superfluous" in str(ambiguity(BUY, turn("One more Kettle.", [find("Kettle")], [add("K12")])))
    everything = ["find", "browse", "price", "add", "pay"]
    assert "browse() does as well" in str(ambiguity(BUY, tools=everything))
    same_price = {**STATE, "prices": {"K12": 40, "L34": 40}}
    both = turn("Is K12 dearer than L34?", [ToolCall("price", {"id": "K12"})])
    assert ambiguity(both) is None
    assert "does as well" in str(ambiguity(both, state=same_price))


def test_another_tool_is_no_less_another_solution_for_its_parameters_names_or_a_longer_result() -> None:
    wanted = turn("What is K12?", [ToolCall("details", {"id": "K12"})])
    assert ambiguity(wanted, tools=["details", "find", "add"]) is None
    assert "describe(product_id" in str(ambiguity(wanted, tools=["details", "find", "describe", "add"]))
    assert ambiguity(turn("K12?", [ToolCall("describe", {"product_id": "K12"})]), tools=["describe", "details"]) is None


def test_a_call_that_could_be_made_a_step_earlier_is_ambiguous() -> None:
    late = turn("A Kettle, and add L34.", [find("Kettle")], [add("K12"), ToolCall("price", {"id": "L34"})])
    assert "a step earlier" in str(ambiguity(late))
    needed = turn("Add L34, then pay by card.", [add("L34")], [pay("card")])
    assert ambiguity(needed) is None


def test_reads_beside_writes_are_answers_too() -> None:
    mixed = turn("Add K12, and what does L34 cost?", [add("K12"), ToolCall("price", {"id": "L34"})])
    assert ambiguity(mixed) is None


def test_explicit_defaults_are_no_difference() -> None:
    assert ambiguity(turn("1 of K12.", [add("K12")])) is None
    assert ambiguity(turn("5 of K12.", [add("K12", count=5)])) is None


def test_the_order_counts_exactly_where_the_turn_says_so() -> None:
    pay_after = [add("K12"), pay("card")]
    words = "Put K12 in and pay by card."
    assert "matters" in str(ambiguity(turn(words, pay_after)))
    assert ambiguity(turn(words, pay_after, ordered=True)) is None
    look = turn("Put K12 in; what's the total?", [add("K12"), ToolCall("total")])
    assert "matters" in str(ambiguity(look, tools=["add", "total"]))
    prices = [ToolCall("price", {"id": "K12"}), ToolCall("price", {"id": "L34"})]
    assert "does not matter" in str(ambiguity(turn("What are K12 and L34?", prices, ordered=True)))


def test_all_decisions_of_an_ambiguous_turn_fall_and_no_others() -> None:
    again = turn("One more Kettle.", [find("Kettle")], [add("K12")])
    whole = task(BUY, again)
    judged = judge(whole)
    assert not judged.sound
    assert [decision.id for decision in judged.confirmed] == ["t/0.0", "t/0.1", "t/0.2"]
    assert set(judged.refuted["uniqueness"]) == {"t/1.0", "t/1.1", "t/1.2"}
    assert judged.refuted["replay"] == {}


def test_replay_refutes_what_did_not_happen() -> None:
    whole = task(BUY, turn("Pay by card.", [pay("card")]))
    made = decisions(whole)
    assert replayed(whole, made) == {}

    def changed(index: int, **changes: Any) -> dict[str, str]:
        return replayed(whole, [d if i != index else d.model_copy(update=changes) for i, d in enumerate(made)])

    forged = [dict(message) for message in made[2].messages]
    forged[2] = {"role": "tool", "content": '{"id":"L34"}'}
    assert "does not come out again" in changed(2, messages=forged)["t/0.2"]
    refused = [ToolCall("add", {"id": "nothing"}).to_openai()]
    assert "target is refused" in changed(1, target=refused)["t/0.1"]
    assert "does not fit its schema" in changed(1, target=[ToolCall("add", {"id": 3}).to_openai()])["t/0.1"]
    other = [add("K12", count=2).to_openai()]
    assert "do not lead to the state" in changed(1, target=other)["t/0.1"]


def test_a_dialogue_that_was_recorded_otherwise_is_refuted() -> None:
    recorded = replay(task(BUY))
    assert judge(task(BUY), recorded).sound
    recorded[2] = {"role": "tool", "content": '{"id":"L34"}'}
    assert set(judge(task(BUY), recorded).refuted["replay"]) == {"t/0.1", "t/0.2"}


def test_a_verifier_can_be_added() -> None:
    judged = judge(task(BUY), verifiers={"judge": lambda task, decisions: {decisions[0].id: "I doubt it"}})
    assert isinstance(judged, Judged)
    assert [decision.id for decision in judged.confirmed] == ["t/0.1", "t/0.2"]
