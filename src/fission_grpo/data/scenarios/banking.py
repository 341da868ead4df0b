"""Goals of a bank's customer."""

from __future__ import annotations

from pathlib import Path

from fission_grpo.chat import ToolCall
from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.banking import CHANNELS, Account, Banking, Bill, Channel, Every

POOLS = {
    "accounts": [
        "Household", "Studio", "Travel", "Family", "Freelance", "Workshop", "Garden", "Rental", "Bakery", "Everyday",
        "Harbour", "Business", "Gallery", "Orchard", "Boat", "Practice", "Cottage", "Band", "Nursery", "Farm",
        "Consulting", "Pottery", "Vineyard", "Music School",
    ],
    "pots": [
        "Holiday", "New Roof", "Emergency", "Wedding", "Christmas", "Bicycle", "Piano", "Braces", "Camper", "Tuition",
        "Kitchen", "Solar", "Rainy Day", "Puppy", "Sailing", "Telescope", "Ski Trip", "Sofa", "Laptop", "Garage",
        "Honeymoon", "Driving Lessons", "Camera", "Greenhouse",
    ],
    "companies": [
        "City Water", "Nordnet", "Alpha Insurance", "Green Power", "Metro Gym", "Belltower Telecom", "Pine Heating",
        "Lumen Energy", "Ridgeway Waste", "Castle Mutual", "Fjord Broadband", "Oakfield Rent", "Sunrise Gas",
        "Trident Legal", "Quill Accounting", "Vista Cable", "Marble Dental", "Hexa Hosting", "Juniper Leasing",
        "Kestrel Courier", "Larch Cleaning", "Mosaic Printing", "Northgate Parking", "Opal Security", "Pebble Mobile",
        "Quarry Stone", "Rivulet Plumbing", "Sable Software", "Tundra Storage", "Umber Paints", "Velvet Catering",
        "Willow Daycare",
    ],
}  # fmt: skip
REPEATED: tuple[Every, ...] = ("month", "quarter")
"""How often users want money sent: in a yearly order a day of the month would not say which month."""


def build(words: Words) -> Banking:
    """A random customer."""
    people = words.people(7)
    return Banking.populate(
        words.rng,
        ids=words.ids,
        accounts=words.sample("accounts", 3),
        pots=words.sample("pots", 3),
        payees=people[:4],
        holders=people[4:],
        companies=words.sample("companies", 7 if words.large else 4),
        dues=words.dates(34 if words.large else 6),
        numbers=words.numbers(12, 20, 400, 5),
    )


SCENARIO = Scenario(Banking, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _any_account(bank: Banking, words: Words) -> tuple[str, Account]:
    return words.rng.choice(list(bank.state.accounts.items()))


def _any_payee(bank: Banking, words: Words) -> tuple[str, str]:
    return words.rng.choice(list(bank.state.payees.items()))


def _amount(words: Words, low: int = 15, high: int = 480) -> int:
    return words.number(low, high, 5)


def _allowed(account: Account) -> int:
    """What a payee may still get today."""
    return account.daily_transfer - account.sent_today


def _funds(account: Account) -> int:
    return account.balance + account.overdraft


def _betrayed(bank: Banking, payee_id: str) -> set[str]:
    """The account that the payee's standing order shows."""
    order = bank.state.orders.get(payee_id)
    return {order.account_id} if order else set()


def _bills(bank: Banking, account_id: str) -> dict[str, Bill]:
    return {key: bill for key, bill in bank.state.bills.items() if bill.account_id == account_id}


def _aloud(channel: Channel) -> str:
    return channel.upper() if channel == "atm" else channel


def _next(bills: dict[str, Bill]) -> str:
    """The bill that is due first, in words."""
    key, bill = min(bills.items(), key=lambda item: item[1].due)
    return f"{key} from {bill.company}, {bill.amount} euros, due on {bill.due}"


def _last(past: Goal) -> ToolCall:
    return past.steps[-1][-1]


@SCENARIO.pattern("call")
def send_by_ids(bank: Banking, words: Words) -> Goal | None:
    (account_id, account), (payee_id, _) = _any_account(bank, words), _any_payee(bank, words)
    amount = _amount(words)
    if amount > min(_allowed(account), _funds(account)):
        return None
    values = {"account": account_id, "payee": payee_id, "amount": amount}
    return Goal(values, [[call("transfer", account_id=account_id, to_id=payee_id, amount=amount)]])


@SCENARIO.pattern("call")
def freeze(bank: Banking, words: Words) -> Goal | None:
    usable = [key for key, card in bank.state.cards.items() if not card.frozen]
    if not usable:
        return None
    card_id = words.rng.choice(usable)
    return Goal({"card": card_id}, [[call("freeze_card", card_id=card_id)]])


@SCENARIO.pattern("call")
def show_account(bank: Banking, words: Words) -> Goal | None:
    account_id, account = _any_account(bank, words)
    values = {"account": account.name, "balance": account.balance, "overdraft": account.overdraft}
    return Goal(values, [[call("get_account", name=account.name)]], {account_id, *account.pots})


@SCENARIO.pattern("call")
def save_in_pot(bank: Banking, words: Words) -> Goal | None:
    account_id, account = _any_account(bank, words)
    amount = _amount(words)
    if not account.pots or amount > account.balance:
        return None
    pot = words.rng.choice(list(account.pots))
    values = {"account": account_id, "pot": pot, "amount": amount}
    return Goal(values, [[call("move_pot", account_id=account_id, pot=pot, amount=amount, direction="deposit")]])


@SCENARIO.pattern("parallel")
def compare_accounts(bank: Banking, words: Words) -> Goal | None:
    (first, one), (second, two) = words.choose(list(bank.state.accounts.items()), 2)
    values = {"first": one.name, "second": two.name, "one": one.balance, "two": two.balance}
    steps = [[call("get_account", name=one.name), call("get_account", name=two.name)]]
    return Goal(values, steps, {first, second, *one.pots, *two.pots})


@SCENARIO.pattern("parallel")
def card_limits(bank: Banking, words: Words) -> Goal | None:
    card_id, card = words.rng.choice(list(bank.state.cards.items()))
    first, second = words.rng.sample(CHANNELS, 2)
    one, two = words.numbers(2, 50, 1500, 50)
    if card.frozen or card.limits[first] == one or card.limits[second] == two:
        return None
    values = {"card": card_id, "first": _aloud(first), "second": _aloud(second), "one": one, "two": two}
    limits = [(first, one), (second, two)]
    return Goal(
        values,
        [[call("set_card_limit", card_id=card_id, channel=channel, amount=amount) for channel, amount in limits]],
    )


@SCENARIO.pattern("chained")
def send_by_names(bank: Banking, words: Words) -> Goal | None:
    (account_id, account), (payee_id, payee) = _any_account(bank, words), _any_payee(bank, words)
    amount = _amount(words)
    if account_id in _betrayed(bank, payee_id) or amount > min(_allowed(account), _funds(account)):
        return None
    return Goal(
        {"account": account.name, "payee": payee, "amount": amount, "left": account.balance - amount},
        [
            [call("get_account", name=account.name), call("find_payee", name=payee)],
            [call("transfer", account_id=account_id, to_id=payee_id, amount=amount)],
        ],
        {account_id, payee_id, *account.pots, *_betrayed(bank, payee_id)},
    )


@SCENARIO.pattern("call", after="send_by_names")
def make_it_regular(bank: Banking, words: Words, past: Goal) -> Goal | None:
    sent = _last(past).arguments
    if sent["to_id"] in bank.state.orders:
        return None
    every, day = words.rng.choice(REPEATED), words.number(1, 28)
    order = {
        "account_id": sent["account_id"],
        "payee_id": sent["to_id"],
        "amount": sent["amount"],
        "schedule": {"every": every, "day": day},
    }
    values = {"payee": past.values["payee"], "amount": sent["amount"], "every": every, "day": day}
    return Goal(values, [[call("set_standing_order", **order)]])


@SCENARIO.pattern("chained")
def settle_company(bank: Banking, words: Words) -> Goal | None:
    account_id, account = _any_account(bank, words)
    bills = _bills(bank, account_id)
    if not bills:
        return None
    company = words.rng.choice(sorted({bill.company for bill in bills.values()}))
    owed = {key: bill.amount for key, bill in bills.items() if bill.company == company}
    if sum(owed.values()) > _funds(account):
        return None
    return Goal(
        {"account": account.name, "company": company, "ids": listing(list(owed)), "total": sum(owed.values())},
        [
            [call("get_account", name=account.name)],
            [call("list_bills", account_id=account_id)],
            [call("pay_bills", bill_ids=list(owed))],
        ],
        {account_id, *bills, *account.pots, *(bill.company for bill in bills.values())},
    )


@SCENARIO.pattern("chained")
def limit_by_holder(bank: Banking, words: Words) -> Goal | None:
    card_id, card = words.rng.choice(list(bank.state.cards.items()))
    channel, amount = words.rng.choice(CHANNELS), words.number(50, 1500, 50)
    if card.frozen or card.limits[channel] == amount:
        return None
    return Goal(
        {"holder": card.holder, "channel": _aloud(channel), "amount": amount},
        [
            [call("find_card", holder=card.holder)],
            [call("set_card_limit", card_id=card_id, channel=channel, amount=amount)],
        ],
        {card_id, card.account_id},
    )


@SCENARIO.pattern("call", after="limit_by_holder")
def freeze_it_too(bank: Banking, words: Words, past: Goal) -> Goal | None:
    card_id = _last(past).arguments["card_id"]
    if bank.state.cards[card_id].frozen:
        return None
    return Goal({"holder": past.values["holder"]}, [[call("freeze_card", card_id=card_id)]])


@SCENARIO.pattern("precondition")
def raise_and_send(bank: Banking, words: Words) -> Goal | None:
    (payee_id, payee), limit = _any_payee(bank, words), words.number(2100, 9000, 100)
    blocked = [
        (key, account, amount)
        for key, account in bank.state.accounts.items()
        for amount in words.numbers(12, 300, 2000, 5)
        if key not in _betrayed(bank, payee_id)
        and _allowed(account) < amount <= min(_funds(account), limit - account.sent_today)
    ]
    if not blocked:
        return None
    account_id, account, amount = words.rng.choice(blocked)
    return Goal(
        {"account": account.name, "payee": payee, "amount": amount, "limit": limit},
        [
            [call("get_account", name=account.name), call("find_payee", name=payee)],
            [call("set_account_limit", account_id=account_id, kind="daily_transfer", amount=limit)],
            [call("transfer", account_id=account_id, to_id=payee_id, amount=amount)],
        ],
        {account_id, payee_id, *account.pots, *_betrayed(bank, payee_id)},
    )


@SCENARIO.pattern("precondition")
def thaw_and_limit(bank: Banking, words: Words) -> Goal | None:
    frozen = [(key, card) for key, card in bank.state.cards.items() if card.frozen]
    if not frozen:
        return None
    card_id, card = words.rng.choice(frozen)
    channel, amount = words.rng.choice(CHANNELS), words.number(50, 1500, 50)
    if card.limits[channel] == amount:
        return None
    return Goal(
        {"holder": card.holder, "channel": _aloud(channel), "amount": amount},
        [
            [call("find_card", holder=card.holder)],
            [call("freeze_card", card_id=card_id, frozen=False)],
            [call("set_card_limit", card_id=card_id, channel=channel, amount=amount)],
        ],
        {card_id, card.account_id},
    )


@SCENARIO.pattern("precondition")
def overdraw_for_bill(bank: Banking, words: Words) -> Goal | None:
    bill_id, bill = words.rng.choice(list(bank.state.bills.items()))
    account = bank.state.accounts[bill.account_id]
    limit = words.number(100, 900, 20)
    if not _funds(account) < bill.amount <= account.balance + limit:
        return None
    values = {"account": bill.account_id, "bill": bill_id, "limit": limit, "amount": bill.amount}
    return Goal(
        values,
        [
            [call("set_account_limit", account_id=bill.account_id, kind="overdraft", amount=limit)],
            [call("pay_bills", bill_ids=[bill_id])],
        ],
    )


@SCENARIO.pattern("call", test_only=True)
def order_by_ids(bank: Banking, words: Words) -> Goal | None:
    (account_id, _), (payee_id, _) = _any_account(bank, words), _any_payee(bank, words)
    if payee_id in bank.state.orders:
        return None
    amount, every, day = _amount(words), words.rng.choice(REPEATED), words.number(1, 28)
    order = {"account_id": account_id, "payee_id": payee_id, "amount": amount}
    values = {"account": account_id, "payee": payee_id, "amount": amount, "every": every, "day": day}
    return Goal(values, [[call("set_standing_order", **order, schedule={"every": every, "day": day})]])


@SCENARIO.pattern("call", test_only=True, after="order_by_ids")
def pay_first_now(bank: Banking, words: Words, past: Goal) -> Goal | None:
    order = _last(past).arguments
    account = bank.state.accounts[order["account_id"]]
    if order["amount"] > min(_allowed(account), _funds(account)):
        return None
    sent = call("transfer", account_id=order["account_id"], to_id=order["payee_id"], amount=order["amount"])
    return Goal({"payee": order["payee_id"], "amount": order["amount"]}, [[sent]])


@SCENARIO.pattern("parallel", test_only=True)
def bills_of_two(bank: Banking, words: Words) -> Goal | None:
    first, second = words.choose(list(bank.state.accounts), 2)
    one, two = _bills(bank, first), _bills(bank, second)
    if not one or not two:
        return None
    values = {"first": first, "second": second, "one": _next(one), "two": _next(two)}
    companies = {bill.company for bill in (one | two).values()}
    steps = [[call("list_bills", account_id=first), call("list_bills", account_id=second)]]
    return Goal(values, steps, {*one, *two, *companies})


@SCENARIO.pattern("chained", test_only=True)
def change_order_amount(bank: Banking, words: Words) -> Goal | None:
    payee_id, order = words.rng.choice(list(bank.state.orders.items()))
    payee, amount = bank.state.payees[payee_id], _amount(words)
    if amount == order.amount:
        return None
    changed = order.model_dump() | {"amount": amount}
    return Goal(
        {"payee": payee, "amount": amount, "every": order.schedule.every},
        [[call("find_payee", name=payee)], [call("set_standing_order", payee_id=payee_id, **changed)]],
        {payee_id, order.account_id},
    )


@SCENARIO.pattern("chained", test_only=True)
def top_up(bank: Banking, words: Words) -> Goal | None:
    (source, one), (target, two) = words.choose(list(bank.state.accounts.items()), 2)
    amount = _amount(words)
    if amount > _funds(one):
        return None
    return Goal(
        {"source": one.name, "target": two.name, "amount": amount, "left": one.balance - amount},
        [
            [call("get_account", name=one.name), call("get_account", name=two.name)],
            [call("transfer", account_id=source, to_id=target, amount=amount)],
        ],
        {source, target, *one.pots, *two.pots},
    )


@SCENARIO.pattern("precondition", test_only=True)
def bill_from_pot(bank: Banking, words: Words) -> Goal | None:
    short = [
        (key, bill, account, pot, amount)
        for key, bill in bank.state.bills.items()
        for account in [bank.state.accounts[bill.account_id]]
        for pot, saved in account.pots.items()
        for amount in words.numbers(6, 15, 480, 5)
        if 0 < bill.amount - _funds(account) <= amount <= saved
    ]
    if not short:
        return None
    bill_id, bill, account, pot, amount = words.rng.choice(short)
    bills = _bills(bank, bill.account_id)
    return Goal(
        {
            "account": account.name,
            "company": bill.company,
            "due": words.say_date(bill.due),
            "pot": pot,
            "amount": amount,
            "bill": bill.amount,
        },
        [
            [call("get_account", name=account.name)],
            [
                call("list_bills", account_id=bill.account_id),
                call("move_pot", account_id=bill.account_id, pot=pot, amount=amount, direction="withdraw"),
            ],
            [call("pay_bills", bill_ids=[bill_id])],
        ],
        {bill.account_id, *bills, *account.pots, *(other.company for other in bills.values())},
    )


@SCENARIO.pattern("chained", test_only=True)
def empty_pot_to_payee(bank: Banking, words: Words) -> Goal | None:
    (account_id, account), (payee_id, payee) = _any_account(bank, words), _any_payee(bank, words)
    filled = [pot for pot, amount in account.pots.items() if amount]
    if not filled or account_id in _betrayed(bank, payee_id):
        return None
    pot = words.rng.choice(filled)
    amount = account.pots[pot]
    if amount > _allowed(account):
        return None
    withdrawal = call("move_pot", account_id=account_id, pot=pot, amount=amount, direction="withdraw")
    payment = call("transfer", account_id=account_id, to_id=payee_id, amount=amount)
    return Goal(
        {"account": account.name, "pot": pot, "payee": payee, "amount": amount},
        [
            [call("get_account", name=account.name), call("find_payee", name=payee)],
            *([[withdrawal, payment]] if amount <= _funds(account) else [[withdrawal], [payment]]),
        ],
        {account_id, payee_id, *account.pots, *_betrayed(bank, payee_id)},
    )
