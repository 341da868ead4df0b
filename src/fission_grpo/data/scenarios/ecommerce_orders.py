"""Goal patterns of the order desk."""

from __future__ import annotations

from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any

from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.ecommerce_orders import (
    MOST_BY_POST,
    RETURN_DAYS,
    Address,
    Carrier,
    Coupon,
    EcommerceOrders,
    Order,
    Status,
    Variant,
)

POOLS = {
    "products": [
        "wool scarf", "desk lamp", "linen apron", "garden hose", "travel mug", "yoga mat", "picture frame",
        "tea kettle", "bath towel", "umbrella", "bread knife", "floor cushion", "wall clock", "rucksack", "phone stand",
        "salad bowl", "sleeping bag", "door mat", "bike basket", "tool box", "hammock", "paper lantern", "pillow case",
        "plant pot",
    ],
    "variants": [
        "walnut", "sand", "navy", "olive", "copper", "ivory", "slate", "coral", "mustard", "teal", "plum", "charcoal",
        "mint", "rust", "lavender", "birch", "scarlet", "indigo", "amber", "pearl", "moss", "cobalt", "peach",
        "graphite",
    ],
    "coupons": [
        "HELLO15", "AUTUMN8", "FRIENDS20", "BIRTHDAY", "COMEBACK", "EARLYBIRD", "LOYAL12", "SNOWDAY", "TEAMORDER",
        "FIRSTBUY", "SUNDAY5", "MOVINGIN", "THANKYOU", "CLEARANCE", "NEWSLETTER", "WEEKEND9",
    ],
    "streets": [
        "Elm Street", "Quay Road", "Chapel Lane", "Mill Row", "Station Avenue", "Orchard Close", "Bridge Street",
        "Castle Hill", "Linden Way", "Market Square", "Harbour View", "Priory Gardens", "Windmill Road", "Abbey Court",
        "Foundry Lane", "Meadow Drive", "Tannery Yard", "Beacon Terrace",
    ],
    "cities": [
        "Porto", "Bergen", "Ghent", "Malmo", "Graz", "Bilbao", "Turku", "Leeds", "Lyon", "Krakow", "Aarhus", "Trieste",
        "Galway", "Utrecht", "Basel", "Brno", "Split", "Tartu", "Nantes", "Kassel",
    ],
}  # fmt: skip

CARRIERS: tuple[Carrier, ...] = ("post", "courier", "freight")
OPEN: tuple[Status, ...] = ("placed", "paid", "packed")
"""Before shipping."""


def build(words: Words) -> EcommerceOrders:
    """A shop of five products; in a large one the first customer has bought many times."""
    old = words.rng.randint(26, 32) if words.large else 0
    today = Date.fromisoformat(words.dates(1, "2026-06-01", 200)[0])
    dates = words.dates(9, (today - timedelta(days=101)).isoformat(), 100)
    if old:
        dates = words.dates(old, (today - timedelta(days=400)).isoformat(), 290) + dates
    colours, prices = words.sample("variants", 15), words.numbers(15, 8, 240)
    products = [product for product in words.sample("products", 5) for _ in range(3)]
    skus, codes = words.ids("K", 15), words.sample("coupons", 3)
    return EcommerceOrders.populate(
        words.rng,
        today=today.isoformat(),
        variants={
            sku: Variant(product=product, variant=colour, price=price, stock=words.rng.randint(16, 40))
            for sku, product, colour, price in zip(skus, products, colours, prices, strict=True)
        },
        coupons={
            code: Coupon(
                percent=words.rng.choice([5, 10, 15, 20]),
                minimum=words.rng.choice([20, 50, 80]),
                expires=(today + timedelta(days=90 if place else -9)).isoformat(),
            )
            for place, code in enumerate(codes)
        },
        orders=dict(zip(words.ids("O", len(dates)), dates, strict=True)),
        customers=words.people(4),
        addresses=[Address(**_address(words)) for _ in range(3)],
        counters=(words.counter(), words.counter()),
    )


SCENARIO = Scenario(EcommerceOrders, build, POOLS, language=Path(__file__).with_suffix(".toml"), unseen=True)


def _address(words: Words) -> dict[str, str]:
    return {"street": f"{words.number(1, 120)} {words.pick('streets')}", "city": words.pick("cities")}


def _orders(shop: EcommerceOrders, words: Words, *statuses: Status) -> list[tuple[str, Order]]:
    """Orders in the given states, of any state without one, in random order."""
    found = [item for item in sorted(shop.state.orders.items()) if not statuses or item[1].status in statuses]
    return words.choose(found, len(found))


def _variants(shop: EcommerceOrders, words: Words, count: int) -> list[tuple[str, Variant]]:
    """Variants of different products."""
    products: dict[str, tuple[str, Variant]] = {}
    for sku, item in words.choose(sorted(shop.state.variants.items()), len(shop.state.variants)):
        products.setdefault(item.product, (sku, item))
    return list(products.values())[:count]


def _short(shop: EcommerceOrders, order: Order) -> list[tuple[str, int]]:
    """What the stock lacks for an order, and how many of it."""
    missing = [(line.sku, line.quantity - shop.state.variants[line.sku].stock) for line in order.lines]
    return [(sku, count) for sku, count in missing if count > 0]


def _contents(shop: EcommerceOrders, order: Order) -> set[str]:
    """What showing an order makes known."""
    return {name for line in order.lines for name in (line.sku, shop.state.variants[line.sku].product)}


def _total(shop: EcommerceOrders, key: str) -> int:
    total: int = shop.get_order(key)["total"]
    return total


def _pieces(order: Order) -> int:
    return sum(line.quantity for line in order.lines)


def _carrier(words: Words, order: Order) -> Carrier:
    """A carrier that takes the order."""
    return words.rng.choice(CARRIERS if _pieces(order) <= MOST_BY_POST else CARRIERS[1:])


def _returnable(shop: EcommerceOrders, key: str, order: Order) -> list[str]:
    """What may be returned of an order that has arrived."""
    arrived = Date.fromisoformat(order.delivered or shop.state.today)
    if arrived + timedelta(days=RETURN_DAYS) < Date.fromisoformat(shop.state.today):
        return []
    back = {sku for taken in shop.state.returns.values() if taken.order_id == key for sku in taken.skus}
    return [line.sku for line in order.lines if line.sku not in back]


def _item(shop: EcommerceOrders, sku: str) -> dict[str, Any]:
    item = shop.state.variants[sku]
    return {"product": item.product, "variant": item.variant}


@SCENARIO.pattern("call")
def order_details(shop: EcommerceOrders, words: Words) -> Goal | None:
    key, order = _orders(shop, words)[0]
    values = {"order_id": key, "status": order.status, "total": _total(shop, key)}
    return Goal(values, [[call("get_order", order_id=key)]], _contents(shop, order))


@SCENARIO.pattern("call")
def variants_of(shop: EcommerceOrders, words: Words) -> Goal | None:
    _, chosen = _variants(shop, words, 1)[0]
    items = {sku: item for sku, item in shop.state.variants.items() if item.product == chosen.product}
    listed = listing([f"{item.variant} ({item.stock} in stock)" for item in items.values()])
    values = {"product": chosen.product, "listed": listed}
    return Goal(values, [[call("find_product", name=chosen.product)]], set(items))


@SCENARIO.pattern("call")
def restock_one(shop: EcommerceOrders, words: Words) -> Goal | None:
    sku, item = _variants(shop, words, 1)[0]
    quantity = words.number(5, 120)
    steps = [[call("restock", sku=sku, quantity=quantity)]]
    return Goal({"sku": sku, "quantity": quantity, "stock": item.stock + quantity}, steps, {item.product})


@SCENARIO.pattern("call")
def coupon_on(shop: EcommerceOrders, words: Words) -> Goal | None:
    found = _couponed(shop, words)
    if found is None:
        return None
    key, code, total = found
    values = {"order_id": key, "code": code, "total": total}
    return Goal(values, [[call("apply_coupon", order_id=key, code=code)]])


def _couponed(shop: EcommerceOrders, words: Words) -> tuple[str, str, int] | None:
    """An unpaid order, a coupon that it may have, and what it then costs."""
    for key, order in _orders(shop, words, "placed"):
        total = _total(shop, key)
        codes = [
            code
            for code, coupon in shop.state.coupons.items()
            if coupon.expires >= shop.state.today and coupon.minimum <= total and not order.coupon
        ]
        if codes:
            code = words.rng.choice(codes)
            return key, code, total * (100 - shop.state.coupons[code].percent) // 100
    return None


@SCENARIO.pattern("call")
def redirect(shop: EcommerceOrders, words: Words) -> Goal | None:
    open_orders = _orders(shop, words, *OPEN)
    if not open_orders:
        return None
    (key, _), address = open_orders[0], _address(words)
    return Goal({"order_id": key} | address, [[call("change_address", order_id=key, address=address)]])


@SCENARIO.pattern("parallel")
def compare_totals(shop: EcommerceOrders, words: Words) -> Goal | None:
    (first, one), (second, other) = _orders(shop, words)[:2]
    values = {"first": first, "second": second, "one": _total(shop, first), "other": _total(shop, second)}
    step = [call("get_order", order_id=first), call("get_order", order_id=second)]
    return Goal(values, [step], _contents(shop, one) | _contents(shop, other))


@SCENARIO.pattern("parallel")
def restock_two(shop: EcommerceOrders, words: Words) -> Goal | None:
    (first, one), (second, other) = _variants(shop, words, 2)
    many, few = words.numbers(2, 5, 120)
    step = [call("restock", sku=first, quantity=many), call("restock", sku=second, quantity=few)]
    values = {"first": first, "second": second, "many": many, "few": few}
    return Goal(values, [step], {one.product, other.product})


@SCENARIO.pattern("parallel")
def ship_two(shop: EcommerceOrders, words: Words) -> Goal | None:
    packed = _orders(shop, words, "packed")
    if len(packed) < 2:
        return None
    (first, one), (second, other) = packed[:2]
    by, via = _carrier(words, one), _carrier(words, other)
    if by == via:
        return None
    step = [call("ship_order", order_id=first, carrier=by), call("ship_order", order_id=second, carrier=via)]
    return Goal({"first": first, "second": second, "by": by, "via": via}, [step])


@SCENARIO.pattern("parallel")
def arrival_and_redirect(shop: EcommerceOrders, words: Words) -> Goal | None:
    shipped, waiting = _orders(shop, words, "shipped"), _orders(shop, words, *OPEN)
    if not shipped or not waiting:
        return None
    arrived, moved, address = shipped[0][0], waiting[0][0], _address(words)
    step = [call("confirm_delivery", order_id=arrived), call("change_address", order_id=moved, address=address)]
    return Goal({"arrived": arrived, "moved": moved} | address, [step])


@SCENARIO.pattern("chained")
def buy(shop: EcommerceOrders, words: Words) -> Goal | None:
    sku, item = _variants(shop, words, 1)[0]
    customer = words.rng.choice(sorted({order.customer for order in shop.state.orders.values()}))
    quantity, address = words.number(1, 16), _address(words)
    if quantity > item.stock:
        return None
    lines = [{"sku": sku, "quantity": quantity}]
    steps = [
        [call("find_product", name=item.product)],
        [call("place_order", customer=customer, lines=lines, address=address)],
    ]
    values = {"customer": customer, "quantity": quantity, "total": item.price * quantity} | address | _item(shop, sku)
    return Goal(values, steps, {other for other, same in shop.state.variants.items() if same.product == item.product})


@SCENARIO.pattern("call", after="buy")
def pay_that(shop: EcommerceOrders, words: Words, past: Goal) -> Goal | None:
    key, total = f"O{shop.state.next_order - 1}", past.values["total"]
    return Goal({"order_id": key, "total": total}, [[call("pay_order", order_id=key, amount=total)]])


@SCENARIO.pattern("chained")
def buy_two_paid(shop: EcommerceOrders, words: Words) -> Goal | None:
    chosen = _variants(shop, words, 2)
    customer = words.rng.choice(sorted({order.customer for order in shop.state.orders.values()}))
    counts, address = words.numbers(2, 1, 16), _address(words)
    if any(count > item.stock for count, (_, item) in zip(counts, chosen, strict=True)):
        return None
    lines = [{"sku": sku, "quantity": count} for count, (sku, _) in zip(counts, chosen, strict=True)]
    key = f"O{shop.state.next_order}"
    total = sum(item.price * count for count, (_, item) in zip(counts, chosen, strict=True))
    steps = [
        [call("find_product", name=item.product) for _, item in chosen],
        [call("place_order", customer=customer, lines=lines, address=address)],
        [call("pay_order", order_id=key, amount=total)],
    ]
    (_, one), (_, other) = chosen
    values = {"customer": customer, "many": counts[0], "few": counts[1], "order_id": key, "total": total} | address
    values |= {"first": one.product, "in_one": one.variant, "second": other.product, "in_other": other.variant}
    products = {one.product, other.product}
    return Goal(values, steps, {sku for sku, item in shop.state.variants.items() if item.product in products})


@SCENARIO.pattern("chained")
def settle(shop: EcommerceOrders, words: Words) -> Goal | None:
    unpaid = _orders(shop, words, "placed")
    if not unpaid:
        return None
    (key, order), total = unpaid[0], _total(shop, unpaid[0][0])
    steps = [
        [call("find_orders", customer=order.customer)],
        [call("get_order", order_id=key)],
        [call("pay_order", order_id=key, amount=total)],
    ]
    values = {"customer": order.customer, "date": words.say_date(order.date), "total": total}
    return Goal(values, steps, {key, *_contents(shop, order)}) if _only(shop, key) else None


def _only(shop: EcommerceOrders, key: str) -> bool:
    """Whether no other order of the same customer has the same date."""
    order = shop.state.orders[key]
    same = [
        other for other in shop.state.orders.values() if (other.customer, other.date) == (order.customer, order.date)
    ]
    return len(same) == 1


@SCENARIO.pattern("chained")
def relocate(shop: EcommerceOrders, words: Words) -> Goal | None:
    waiting = [(key, order) for key, order in _orders(shop, words, *OPEN) if _only(shop, key)]
    if not waiting:
        return None
    (key, order), address = waiting[0], _address(words)
    steps = [
        [call("find_orders", customer=order.customer)],
        [call("change_address", order_id=key, address=address)],
    ]
    return Goal({"customer": order.customer, "date": words.say_date(order.date)} | address, steps, {key})


@SCENARIO.pattern("chained")
def return_item(shop: EcommerceOrders, words: Words) -> Goal | None:
    for key, order in _orders(shop, words, "delivered"):
        others = [other for other in shop.state.orders.values() if other.customer == order.customer and other != order]
        elsewhere = {line.sku for other in others for line in other.lines}
        skus = [sku for sku in _returnable(shop, key, order) if sku not in elsewhere]
        if skus and _only(shop, key):
            sku = words.rng.choice(skus)
            steps = [
                [call("find_orders", customer=order.customer)],
                [call("get_order", order_id=key)],
                [call("open_return", order_id=key, skus=[sku])],
            ]
            values = {"customer": order.customer, "date": words.say_date(order.date)} | _item(shop, sku)
            return Goal(values, steps, {key, *_contents(shop, order)})
    return None


@SCENARIO.pattern("call", after="return_item")
def refund_it(shop: EcommerceOrders, words: Words, past: Goal) -> Goal | None:
    key = f"R{shop.state.next_return - 1}"
    credit = words.rng.random() < 0.5
    given = {"to": "store_credit"} if credit else {}
    said = "store credit" if credit else "the original payment"
    return Goal({"return_id": key, "to": said}, [[call("refund_return", return_id=key, **given)]])


@SCENARIO.pattern("chained")
def coupon_then_pay(shop: EcommerceOrders, words: Words) -> Goal | None:
    found = _couponed(shop, words)
    if found is None:
        return None
    key, code, total = found
    steps = [[call("apply_coupon", order_id=key, code=code)], [call("pay_order", order_id=key, amount=total)]]
    return Goal({"order_id": key, "code": code, "total": total}, steps)


@SCENARIO.pattern("precondition")
def restock_then_pack(shop: EcommerceOrders, words: Words) -> Goal | None:
    for key, order in _orders(shop, words, "paid"):
        missing, quantity = _short(shop, order), words.number(5, 120)
        if len(missing) == 1 and missing[0][1] <= quantity:
            sku = missing[0][0]
            steps = [[call("restock", sku=sku, quantity=quantity)], [call("pack_order", order_id=key)]]
            return Goal({"order_id": key, "sku": sku, "quantity": quantity}, steps, _contents(shop, order))
    return None


@SCENARIO.pattern("call", after="restock_then_pack")
def ship_it(shop: EcommerceOrders, words: Words, past: Goal) -> Goal | None:
    key = past.values["order_id"]
    carrier = _carrier(words, shop.state.orders[key])
    return Goal({"carrier": carrier}, [[call("ship_order", order_id=key, carrier=carrier)]])


@SCENARIO.pattern("precondition")
def pay_then_pack(shop: EcommerceOrders, words: Words) -> Goal | None:
    ready = [(key, order) for key, order in _orders(shop, words, "placed") if not _short(shop, order)]
    if not ready:
        return None
    key, order = ready[0]
    total = _total(shop, key)
    steps = [
        [call("get_order", order_id=key)],
        [call("pay_order", order_id=key, amount=total)],
        [call("pack_order", order_id=key)],
    ]
    return Goal({"order_id": key, "total": total}, steps, _contents(shop, order))


@SCENARIO.pattern("precondition")
def pack_then_ship(shop: EcommerceOrders, words: Words) -> Goal | None:
    ready = [(key, order) for key, order in _orders(shop, words, "paid") if not _short(shop, order)]
    if not ready:
        return None
    key, order = ready[0]
    carrier = _carrier(words, order)
    steps = [[call("pack_order", order_id=key)], [call("ship_order", order_id=key, carrier=carrier)]]
    return Goal({"order_id": key, "carrier": carrier}, steps)


@SCENARIO.pattern("precondition")
def arrived_then_return(shop: EcommerceOrders, words: Words) -> Goal | None:
    shipped = _orders(shop, words, "shipped")
    if not shipped:
        return None
    key, order = shipped[0]
    sku = words.rng.choice(order.lines).sku
    steps = [
        [call("confirm_delivery", order_id=key)],
        [call("open_return", order_id=key, skus=[sku])],
        [call("refund_return", return_id=f"R{shop.state.next_return}")],
    ]
    return Goal({"order_id": key, "sku": sku}, steps, _contents(shop, order))
