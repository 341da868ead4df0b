"""A customer's bank: accounts with pots and limits, payees and standing orders, bills, cards."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import each_once, known, named, spelled
from fission_grpo.domains.base import Argument, Domain, ToolError

Amount = Annotated[int, Field(ge=1)]
Limit = Annotated[int, Field(ge=0, le=50000)]
Channel = Literal["online", "atm", "contactless"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
Every = Literal["month", "quarter", "year"]


class Schedule(Argument):
    """When money is sent."""

    every: Every
    day: Annotated[int, Field(ge=1, le=28, description="Of the month")]


class Account(BaseModel):
    """An account of the customer."""

    name: str
    balance: int
    overdraft: int = 0
    """How far the balance may go below zero."""
    daily_transfer: int
    """What payees may get in a day."""
    sent_today: int = 0
    pots: dict[str, int]


class StandingOrder(BaseModel):
    """A payment that repeats."""

    account_id: str
    amount: int
    schedule: Schedule


class Bill(BaseModel):
    """An open bill, charged to an account."""

    account_id: str
    company: str
    amount: int
    due: str


class Card(BaseModel):
    """A payment card and what it may spend in a day."""

    holder: str
    account_id: str
    frozen: bool = False
    limits: dict[Channel, int]


class BankState(BaseModel):
    """All that the customer has at the bank, by id."""

    accounts: dict[str, Account]
    payees: dict[str, str]
    """Names."""
    received: dict[str, int] = {}
    """By payee, what transfers brought."""
    orders: dict[str, StandingOrder]
    """By payee."""
    bills: dict[str, Bill]
    cards: dict[str, Card]


class Banking(Domain):
    """The bank, as one customer sees it."""

    name = "banking"
    State = BankState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random customer with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        return cls.populate(
            rng,
            ids=lambda prefix, count: [f"{prefix}{number}" for number in rng.sample(range(1000, 10000), count)],
            accounts=["Household", "Studio", "Travel"],
            pots=["Holiday", "New Roof", "Emergency"],
            payees=["Anna Weber", "Omar Haddad", "Lucy Chen", "Paul Novak"],
            holders=["Maria Lopez", "James Reed"],
            companies=["City Water", "Nordnet", "Alpha Insurance", "Green Power"],
            dues=["2026-03-02", "2026-03-09", "2026-04-01", "2026-04-15", "2026-05-04"],
            numbers=range(20, 400, 5),
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        ids: Callable[[str, int], list[str]],
        accounts: Sequence[str],
        pots: Sequence[str],
        payees: Sequence[str],
        holders: Sequence[str],
        companies: Sequence[str],
        dues: Sequence[str],
        numbers: Sequence[int],
    ) -> Self:
        """A random customer of the given names: a bill per date of `dues`, most of one account; `ids` by prefix."""
        owned = {
            key: Account(
                name=name,
                balance=rng.choice(numbers) * rng.choice([1, 4, 9]),
                overdraft=rng.choice([0, 0, 100]),
                daily_transfer=rng.choice([500, 1000, 2000]),
                sent_today=rng.choice([0, 0, 150, 400]),
                pots={},
            )
            for key, name in zip(ids("AC", len(accounts)), accounts, strict=True)
        }
        for pot in pots:
            owned[rng.choice(list(owned))].pots[pot] = rng.choice(numbers) * 2
        some = list(owned)
        some += some[:1] * 5
        saved = dict(zip(ids("PY", len(payees)), payees, strict=True))
        return cls(
            BankState(
                accounts=owned,
                payees=saved,
                orders={
                    key: StandingOrder(
                        account_id=rng.choice(list(owned)),
                        amount=rng.choice(numbers),
                        schedule=Schedule(every=rng.choice(get_args(Every)), day=rng.randrange(1, 29)),
                    )
                    for key in rng.sample(list(saved), len(saved) // 2)
                },
                bills={
                    key: Bill(
                        account_id=rng.choice(some),
                        company=rng.choice(companies),
                        amount=rng.choice(numbers),
                        due=due,
                    )
                    for key, due in zip(ids("B", len(dues)), dues, strict=True)
                },
                cards={
                    key: Card(
                        holder=holder,
                        account_id=rng.choice(list(owned)),
                        frozen=rng.random() < 0.4,
                        limits={channel: rng.choice([100, 300, 500, 1000]) for channel in CHANNELS},
                    )
                    for key, holder in zip(ids("CD", len(holders)), holders, strict=True)
                },
            )
        )

    def get_account(self, name: str) -> dict[str, Any]:
        """Show an account's id, balance, limits and pots.

        Args:
            name: Name of the account.
        """
        names = ", ".join(account.name for account in self.state.accounts.values())
        key, account = named("get_account", "account", self.state.accounts, name, hint=f"accounts: {names}")
        return {"account_id": key, **account.model_dump(exclude={"name"})}

    def find_payee(self, name: str) -> dict[str, Any]:
        """Look up a saved payee and its standing order.

        Args:
            name: Full name.
        """
        key, _ = named("find_payee", "saved payee", self.state.payees, name, by=str)
        order = self.state.orders.get(key)
        return {"payee_id": key, "standing_order": order and order.model_dump()}

    def transfer(self, account_id: str, to_id: str, amount: Amount) -> dict[str, Any]:
        """Send money once. Payees: up to the daily limit.

        Args:
            account_id: Account to debit.
            to_id: Payee or other own account.
            amount: Euros.
        """
        account = self._account("transfer", account_id)
        own = self.state.accounts.get(to_id)
        if own is account:
            raise ToolError(f"transfer: {to_id} cannot send money to itself")
        if own is None:
            hint = "find_payee and get_account give ids such as PY1234 and AC1234"
            known("transfer", "payee or own account", self.state.payees, to_id, hint)
            left = account.daily_transfer - account.sent_today
            if amount > left:
                raise ToolError(
                    f"transfer: {amount} is above the {max(left, 0)} left today of the"
                    f" daily_transfer limit {account.daily_transfer} of {account_id}"
                )
        _check_funds("transfer", account_id, account, amount)
        account.balance -= amount
        if own is None:
            account.sent_today += amount
            self.state.received[to_id] = self.state.received.get(to_id, 0) + amount
        else:
            own.balance += amount
        return {"sent": amount, "balance": account.balance}

    def set_account_limit(
        self,
        account_id: str,
        kind: Literal["overdraft", "daily_transfer"],
        amount: Limit,
    ) -> dict[str, Any]:
        """Set a limit of an account.

        Args:
            account_id: Id from get_account.
            kind: Which limit.
            amount: New limit.
        """
        account = self._account("set_account_limit", account_id)
        if kind == "overdraft":
            if -account.balance > amount:
                raise ToolError(f"set_account_limit: {account_id} is overdrawn by {-account.balance}, above {amount}")
            account.overdraft = amount
        else:
            account.daily_transfer = amount
        return {"account_id": account_id, kind: amount}

    def move_pot(
        self, account_id: str, pot: str, amount: Amount, direction: Literal["deposit", "withdraw"]
    ) -> dict[str, Any]:
        """Move money into or out of a pot.

        Args:
            account_id: Id from get_account.
            pot: Name of the pot.
            amount: Euros.
            direction: Which way.
        """
        account = self._account("move_pot", account_id)
        name = spelled(pot, account.pots)
        if name is None:
            raise ToolError(f"move_pot: {account_id} has no pot '{pot}'; pots: {', '.join(account.pots) or 'none'}")
        if direction == "deposit" and amount > account.balance:
            raise ToolError(f"move_pot: balance {account.balance} of {account_id} is below {amount}")
        if direction == "withdraw" and amount > account.pots[name]:
            raise ToolError(f"move_pot: {name} holds {account.pots[name]}, less than {amount}")
        signed = amount if direction == "deposit" else -amount
        account.pots[name] += signed
        account.balance -= signed
        return {"pot": account.pots[name], "balance": account.balance}

    def list_bills(self, account_id: str) -> list[dict[str, Any]]:
        """List the open bills of an account.

        Args:
            account_id: Id from get_account.
        """
        self._account("list_bills", account_id)
        return [
            {"bill_id": key, "company": bill.company, "amount": bill.amount, "due": bill.due}
            for key, bill in self.state.bills.items()
            if bill.account_id == account_id
        ]

    def pay_bills(self, bill_ids: list[str]) -> dict[str, Any]:
        """Pay open bills from the accounts they are charged to.

        Args:
            bill_ids: Ids from list_bills.
        """
        each_once("pay_bills", "bill_ids", bill_ids)
        charged: dict[str, int] = {}
        for bill_id in bill_ids:
            bill = known("pay_bills", "open bill", self.state.bills, bill_id, "list_bills gives ids such as B1234")
            charged[bill.account_id] = charged.get(bill.account_id, 0) + bill.amount
        for account_id, amount in charged.items():
            _check_funds("pay_bills", account_id, self.state.accounts[account_id], amount)
        for account_id, amount in charged.items():
            self.state.accounts[account_id].balance -= amount
        for bill_id in bill_ids:
            del self.state.bills[bill_id]
        return {"paid": sum(charged.values()), "balances": {key: self.state.accounts[key].balance for key in charged}}

    def find_card(self, holder: str) -> dict[str, Any]:
        """Look up a card's id, status and daily limits.

        Args:
            holder: Full name on the card.
        """
        key, card = named("find_card", "card holder", self.state.cards, holder, by=attrgetter("holder"))
        return {"card_id": key, **card.model_dump(exclude={"holder"})}

    def freeze_card(self, card_id: str, frozen: bool = True) -> dict[str, Any]:
        """Freeze or unfreeze a card.

        Args:
            card_id: Id such as CD1234.
            frozen: False to unfreeze.
        """
        card = self._card("freeze_card", card_id)
        if card.frozen == frozen:
            raise ToolError(f"freeze_card: {card_id} is {'already' if frozen else 'not'} frozen")
        card.frozen = frozen
        return {"card_id": card_id, "frozen": frozen}

    def set_card_limit(self, card_id: str, channel: Channel, amount: Limit) -> dict[str, Any]:
        """Set a card's daily limit. Refused while frozen.

        Args:
            card_id: Id such as CD1234.
            channel: Where it is used.
            amount: New limit.
        """
        card = self._card("set_card_limit", card_id)
        if card.frozen:
            raise ToolError(f"set_card_limit: {card_id} is frozen")
        card.limits[channel] = amount
        return {"card_id": card_id, channel: amount}

    def set_standing_order(self, account_id: str, payee_id: str, amount: Amount, schedule: Schedule) -> dict[str, Any]:
        """Create or replace a payee's standing order.

        Args:
            account_id: Account to debit.
            payee_id: Id from find_payee.
            amount: Euros each time.
            schedule: When to send it.
        """
        self._account("set_standing_order", account_id)
        known("set_standing_order", "payee", self.state.payees, payee_id, "find_payee gives ids such as PY1234")
        order = StandingOrder(account_id=account_id, amount=amount, schedule=schedule)
        replaced = payee_id in self.state.orders
        self.state.orders[payee_id] = order
        return {"payee_id": payee_id, "replaced": replaced}

    def _account(self, tool: str, key: str) -> Account:
        return known(tool, "account", self.state.accounts, key, "get_account gives ids such as AC1234")

    def _card(self, tool: str, key: str) -> Card:
        return known(tool, "card", self.state.cards, key, "find_card gives ids such as CD1234")


def _check_funds(tool: str, account_id: str, account: Account, amount: int) -> None:
    if amount > account.balance + account.overdraft:
        raise ToolError(
            f"{tool}: balance {account.balance} and overdraft {account.overdraft} of {account_id} do not cover {amount}"
        )
