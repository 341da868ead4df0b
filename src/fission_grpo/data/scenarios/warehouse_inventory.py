"""Goal patterns of the warehouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.warehouse_inventory import ZONES, Bin, Order, Warehouse

POOLS: dict[str, list[Any]] = {
    "products": [
        "oat flakes", "green tea", "salted butter", "plain yoghurt", "garden peas", "cod fillets", "rye crackers",
        "apricot jam", "goat cheese", "spinach leaves", "veal stock", "lemon sorbet", "black olives", "rice noodles",
        "cream cheese", "berry mix", "brown lentils", "maple syrup", "smoked ham", "puff pastry", "tomato passata",
        "roasted almonds", "sour cream", "fish fingers", "orange juice", "dark chocolate", "chicken wings",
        "vanilla ice", "white beans", "olive oil", "potato salad", "pizza dough", "sea salt", "peanut butter",
        "fresh ravioli", "shrimp tails", "corn flour", "honey drops", "herb quark", "bread rolls", "dried figs",
        "mint candy", "beef mince", "waffle cones", "coffee beans", "apple vinegar", "tofu blocks", "sweet corn",
    ],
    "suppliers": [
        "Hill Foods", "Nord Trade", "Baker & Sons", "Delta Grocers", "Rosewood Farms", "Harbour Import",
        "Alpine Goods", "Three Mills", "Sunfield Group", "Old Market", "Ferry Lane", "Castell Brothers",
        "Meadow Union", "Polar Line", "Greenbank", "Amber Coast", "Fairway Supplies", "Stone Cellar",
        "Lakeside Partners", "Riverton Wholesale", "Blue Barn", "Orchard House", "Windmill Trading", "Summit Stores",
    ],
    "customers": [
        "Corner Shop", "City Hotel", "School Kitchen", "Cafe Luna", "Park Hospital", "Tavern Oak", "Hostel Nine",
        "Bistro Verde", "Royal Cinema", "Market Hall", "Ferry Canteen", "Lodge Inn", "Deli Carlo", "Sports Club",
        "Villa Resort", "Campus Diner", "Pension Alba", "Museum Cafe", "Night Kiosk", "Family Mart",
        "Garden Palace", "Station Grill", "Temple Catering", "Yacht Bar", "Chalet Eder", "Noodle Point",
        "Airport Lounge", "Bakery Finn", "Cliff House", "Union Mess", "Village Store", "Opera Buffet",
    ],
}  # fmt: skip


def build(words: Words) -> Warehouse:
    """A random warehouse of the split's goods, with many bins in one zone when large."""
    bins = words.rng.choice([38, 42, 46]) if words.large else 9
    return Warehouse.populate(
        words.rng,
        products=dict(zip(words.ids("SK", 6), words.sample("products", 6), strict=True)),
        suppliers=dict(zip(words.ids("S", 3, digits=3), words.sample("suppliers", 3), strict=True)),
        bins=words.ids("B", bins, digits=3),
        orders=words.ids("PO", 5),
        reservations=words.ids("R", 4),
        customers=words.sample("customers", 4),
        quantities=words.numbers(20, 20, 140),
        first=words.counter(),
    )


SCENARIO = Scenario(Warehouse, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _placed(house: Warehouse, *, locked: bool | None = None) -> list[tuple[str, str, int]]:
    """Bin, SKU and units of all stock, on request only that in locked or in unlocked bins."""
    return [
        (key, sku, units)
        for key, place in house.state.bins.items()
        if locked in (None, place.locked)
        for sku, units in place.stock.items()
    ]


def _free(place: Bin) -> int:
    return place.capacity - sum(place.stock.values())


def _others(house: Warehouse, bin_id: str, units: int, *, locked: bool | None = False) -> list[str]:
    """Other bins of the same zone with room for the units."""
    zone = house.state.bins[bin_id].zone
    return [
        key
        for key, place in house.state.bins.items()
        if key != bin_id and place.zone == zone and locked in (None, place.locked) and _free(place) >= units
    ]


def _held(house: Warehouse, sku: str) -> dict[str, int]:
    return {key: one.quantity for key, one in house.state.reservations.items() if one.sku == sku and not one.picked}


def _available(house: Warehouse, sku: str) -> int:
    stock = sum(units for _, kind, units in _placed(house) if kind == sku)
    return stock - sum(_held(house, sku).values())


def _stock(house: Warehouse, sku: str) -> dict[str, Any]:
    """What a reply says of a product's stock."""
    bins = [f"{units} in {key}" for key, kind, units in _placed(house) if kind == sku]
    held = [f"{units} ({key})" for key, units in _held(house, sku).items()]
    return {
        "bins": listing(bins) if bins else "no bin has any",
        "reserved": listing(held) if held else "none",
        "available": _available(house, sku),
    }


def _bins(house: Warehouse, sku: str) -> set[str]:
    return {key for key, kind, _ in _placed(house) if kind == sku}


def _wanted(house: Warehouse, words: Words, sku: str) -> int | None:
    """A quantity that could be reserved."""
    available = _available(house, sku)
    return words.number(2, available) if available >= 40 else None


def _orders(house: Warehouse, *states: str) -> list[tuple[str, Order]]:
    return [(key, order) for key, order in house.state.orders.items() if order.state in states]


def _stores(house: Warehouse, order: Order, *, locked: bool = False) -> list[str]:
    """Bins that could take the order's goods, by lock."""
    zones = {house.state.products[sku].zone for sku in order.lines}
    return [
        key
        for key, place in house.state.bins.items()
        if {place.zone} == zones and place.locked == locked and _free(place) >= sum(order.lines.values())
    ]


@SCENARIO.pattern("call")
def stock_level(house: Warehouse, words: Words) -> Goal:
    sku = words.rng.choice(list(house.state.products))
    return Goal({"sku": sku} | _stock(house, sku), [[call("show_stock", sku=sku)]], _bins(house, sku))


@SCENARIO.pattern("call", after="stock_level")
def reserve_of_those(house: Warehouse, words: Words, past: Goal) -> Goal | None:
    sku = past.values["sku"]
    quantity, customer = _wanted(house, words, sku), words.pick("customers")
    if quantity is None:
        return None
    values = {"sku": sku, "quantity": quantity, "customer": customer}
    values["reservation"] = f"R{house.state.next_reservation}"
    return Goal(values, [[call("reserve_stock", sku=sku, quantity=quantity, customer=customer)]])


@SCENARIO.pattern("call")
def zone_bins(house: Warehouse, words: Words) -> Goal:
    zone = words.rng.choice(ZONES)
    bins = {key: place for key, place in house.state.bins.items() if place.zone == zone}
    roomiest = max(bins, key=lambda key: _free(bins[key]))
    locked = sum(place.locked for place in bins.values())
    values = {"zone": zone, "count": len(bins), "locked": locked, "roomiest": roomiest, "free": _free(bins[roomiest])}
    return Goal(values, [[call("list_bins", zone=zone)]], set(bins))


@SCENARIO.pattern("call")
def pick_some(house: Warehouse, words: Words) -> Goal | None:
    unlocked = {
        sku: sum(units for _, kind, units in _placed(house, locked=False) if kind == sku)
        for sku in house.state.products
    }
    able = [
        key for key, one in house.state.reservations.items() if one.quantity <= unlocked[one.sku] and not one.picked
    ]
    if len(able) < 2:
        return None
    chosen = words.choose(able, words.rng.choice([2, 2, 3]))
    skus = {house.state.reservations[key].sku for key in chosen}
    shown = {*chosen, *skus}.union(*(_bins(house, sku) for sku in skus))
    return Goal({"reservations": listing(chosen)}, [[call("pick_reservations", reservation_ids=chosen)]], shown)


@SCENARIO.pattern("call")
def lock_for_count(house: Warehouse, words: Words) -> Goal | None:
    offered = [key for key, _, _ in _placed(house, locked=False)]
    if not offered:
        return None
    key = words.rng.choice(offered)
    return Goal({"bin": key}, [[call("lock_bin", bin_id=key)]])


@SCENARIO.pattern("call", after="lock_for_count")
def counted_there(house: Warehouse, words: Words, past: Goal) -> Goal | None:
    key = past.values["bin"]
    sku, units = words.rng.choice(list(house.state.bins[key].stock.items()))
    counted = _counted(house, words, key, sku, units)
    if counted is None:
        return None
    values = {"bin": key, "sku": sku, "counted": counted}
    return Goal(values, [[call("count_bin", bin_id=key, sku=sku, counted=counted)]])


def _counted(house: Warehouse, words: Words, key: str, sku: str, units: int) -> int | None:
    """A count of a bin that differs from what is on record and is possible."""
    low = max(2, units - _available(house, sku))
    high = units + _free(house.state.bins[key])
    found = words.number(low, high) if high - low >= 60 else units
    return None if found == units else found


@SCENARIO.pattern("parallel")
def order_and_stock(house: Warehouse, words: Words) -> Goal:
    key, order = words.rng.choice(_orders(house, "draft", "approved", "sent", "received", "cancelled"))
    sku = words.rng.choice([sku for sku in house.state.products if sku not in order.lines])
    goods = listing([f"{units} of {kind}" for kind, units in order.lines.items()])
    values = {"order": key, "state": order.state, "supplier": order.supplier_id, "goods": goods, "sku": sku}
    values |= _stock(house, sku)
    step = [call("show_order", order_id=key), call("show_stock", sku=sku)]
    return Goal(values, [step], _bins(house, sku) | set(order.lines))


@SCENARIO.pattern("parallel")
def move_and_approve(house: Warehouse, words: Words) -> Goal | None:
    drafts, placed = _orders(house, "draft"), [one for one in _placed(house, locked=False) if one[2] >= 40]
    if not drafts or not placed:
        return None
    source, sku, units = words.rng.choice(placed)
    quantity = words.number(2, units)
    targets = _others(house, source, quantity)
    if not targets:
        return None
    target, order = words.rng.choice(targets), words.rng.choice(drafts)[0]
    values = {"sku": sku, "source": source, "target": target, "quantity": quantity, "order": order}
    move = call("move_stock", sku=sku, source_bin=source, target_bin=target, quantity=quantity)
    return Goal(values, [[move, call("set_order_state", order_id=order, state="approved")]])


@SCENARIO.pattern("chained")
def reserve_by_name(house: Warehouse, words: Words) -> Goal | None:
    sku, product = words.rng.choice(list(house.state.products.items()))
    quantity, customer = _wanted(house, words, sku), words.pick("customers")
    if quantity is None:
        return None
    steps = [
        [call("find_product", name=product.name)],
        [call("reserve_stock", sku=sku, quantity=quantity, customer=customer)],
    ]
    values = {"product": product.name, "quantity": quantity, "customer": customer}
    values["reservation"] = f"R{house.state.next_reservation}"
    return Goal(values, steps, {sku, product.supplier_id})


@SCENARIO.pattern("chained")
def order_by_name(house: Warehouse, words: Words) -> Goal:
    sku, product = words.rng.choice(list(house.state.products.items()))
    supplier = house.state.suppliers[product.supplier_id]
    others = [key for key, one in house.state.products.items() if one.supplier_id == product.supplier_id and key != sku]
    chosen = [sku, *words.choose(others, words.rng.choice([0, 1]))]
    amounts = words.numbers(len(chosen), supplier.minimum, 200)
    names = [house.state.products[key].name for key in chosen]
    lines = [{"sku": key, "quantity": amount} for key, amount in zip(chosen, amounts, strict=True)]
    steps = [
        [call("find_product", name=name) for name in names],
        [call("create_order", supplier_id=product.supplier_id, lines=lines)],
    ]
    goods = listing([f"{amount} units of {name}" for name, amount in zip(names, amounts, strict=True)])
    values = {"goods": goods, "order": f"PO{house.state.next_order}", "supplier": supplier.name}
    return Goal(values, steps, {*chosen, *names, product.supplier_id})


@SCENARIO.pattern("chained")
def move_to_roomiest(house: Warehouse, words: Words) -> Goal | None:
    placed = [one for one in _placed(house, locked=False) if one[2] >= 40]
    if not placed:
        return None
    source, sku, units = words.rng.choice(placed)
    zone, quantity = house.state.bins[source].zone, words.number(2, units)
    free = {key: _free(house.state.bins[key]) for key in _others(house, source, 0)}
    if not free or max(free.values()) < quantity or list(free.values()).count(max(free.values())) > 1:
        return None
    target = max(free, key=lambda key: free[key])
    move = call("move_stock", sku=sku, source_bin=source, target_bin=target, quantity=quantity)
    values = {"sku": sku, "source": source, "zone": zone, "quantity": quantity, "target": target}
    shown = {key for key, place in house.state.bins.items() if place.zone == zone}
    return Goal(values, [[call("list_bins", zone=zone)], [move]], shown)


@SCENARIO.pattern("chained")
def unlock_zone(house: Warehouse, words: Words) -> Goal | None:
    zone = words.rng.choice(ZONES)
    locked = [key for key, place in house.state.bins.items() if place.zone == zone and place.locked]
    if not 1 <= len(locked) <= 3:
        return None
    shown = {key for key, place in house.state.bins.items() if place.zone == zone}
    unlock = [call("lock_bin", bin_id=key, locked=False) for key in locked]
    return Goal({"zone": zone, "bins": listing(locked)}, [[call("list_bins", zone=zone)], unlock], shown)


@SCENARIO.pattern("precondition")
def unlock_and_move(house: Warehouse, words: Words) -> Goal | None:
    placed = [one for one in _placed(house, locked=True) if one[2] >= 40]
    if not placed:
        return None
    source, sku, units = words.rng.choice(placed)
    quantity = words.number(2, units)
    targets = _others(house, source, quantity)
    if not targets:
        return None
    target = words.rng.choice(targets)
    move = call("move_stock", sku=sku, source_bin=source, target_bin=target, quantity=quantity)
    values = {"sku": sku, "source": source, "target": target, "quantity": quantity}
    return Goal(values, [[call("lock_bin", bin_id=source, locked=False)], [move]])


@SCENARIO.pattern("precondition")
def receive_unsent(house: Warehouse, words: Words) -> Goal | None:
    able = [(key, order) for key, order in _orders(house, "draft", "approved") if _stores(house, order)]
    if not able:
        return None
    key, order = words.rng.choice(able)
    target = words.rng.choice(_stores(house, order))
    needed = [state for state in ("approved", "sent") if state != order.state]
    steps = [
        *([call("set_order_state", order_id=key, state=state)] for state in needed),
        [call("receive_order", order_id=key, bin_id=target)],
    ]
    values = {"order": key, "bin": target, "state": order.state, "steps": " and then ".join(needed)}
    return Goal(values, steps, set(order.lines))


@SCENARIO.pattern("precondition")
def release_and_reserve(house: Warehouse, words: Words) -> Goal | None:
    offered = [(key, one) for key, one in house.state.reservations.items() if one.quantity >= 40 and not one.picked]
    if not offered:
        return None
    key, held = words.rng.choice(offered)
    available = _available(house, held.sku)
    name, customer = house.state.products[held.sku].name, words.pick("customers")
    quantity = words.number(available + 2, available + held.quantity)
    if customer == held.customer:
        return None
    steps = [
        [call("find_product", name=name), call("release_reservation", reservation_id=key)],
        [call("reserve_stock", sku=held.sku, quantity=quantity, customer=customer)],
    ]
    values = {"product": name, "released": key, "quantity": quantity, "customer": customer}
    values["reservation"] = f"R{house.state.next_reservation}"
    return Goal(values, steps, {held.sku, house.state.products[held.sku].supplier_id})


@SCENARIO.pattern("call", test_only=True)
def cancel_order(house: Warehouse, words: Words) -> Goal | None:
    able = _orders(house, "draft", "approved")
    if not able:
        return None
    key = words.rng.choice(able)[0]
    return Goal({"order": key}, [[call("set_order_state", order_id=key, state="cancelled")]])


@SCENARIO.pattern("parallel", test_only=True)
def count_two(house: Warehouse, words: Words) -> Goal | None:
    placed = _placed(house, locked=True)
    if len(placed) < 2:
        return None
    (one, sku, units), (two, other, number) = words.choose(placed, 2)
    first, second = _counted(house, words, one, sku, units), _counted(house, words, two, other, number)
    if first is None or second is None or one == two or sku == other:
        return None
    step = [
        call("count_bin", bin_id=one, sku=sku, counted=first),
        call("count_bin", bin_id=two, sku=other, counted=second),
    ]
    values = {"one": one, "sku": sku, "first": first, "two": two, "other": other, "second": second}
    return Goal(values, [step])


@SCENARIO.pattern("chained", test_only=True)
def reserve_and_pick(house: Warehouse, words: Words) -> Goal | None:
    sku, product = words.rng.choice(list(house.state.products.items()))
    unlocked = sum(units for _, kind, units in _placed(house, locked=False) if kind == sku)
    quantity, customer = _wanted(house, words, sku), words.pick("customers")
    if quantity is None or quantity > unlocked:
        return None
    new = f"R{house.state.next_reservation}"
    steps = [
        [call("find_product", name=product.name)],
        [call("reserve_stock", sku=sku, quantity=quantity, customer=customer)],
        [call("pick_reservations", reservation_ids=[new])],
    ]
    values = {"product": product.name, "quantity": quantity, "customer": customer, "reservation": new}
    return Goal(values, steps, {sku, product.supplier_id})


@SCENARIO.pattern("chained", test_only=True)
def gather(house: Warehouse, words: Words) -> Goal | None:
    sku = words.rng.choice(list(house.state.products))
    bins = {key: units for key, kind, units in _placed(house) if kind == sku}
    if not bins or any(house.state.bins[key].locked for key in bins):
        return None
    some = next(iter(bins))
    target = words.rng.choice([some, *_others(house, some, sum(bins.values()))])
    moved = {key: units for key, units in bins.items() if key != target}
    if not moved or sum(moved.values()) > _free(house.state.bins[target]):
        return None
    moves = [
        call("move_stock", sku=sku, source_bin=key, target_bin=target, quantity=units) for key, units in moved.items()
    ]
    values = {"sku": sku, "target": target, "units": sum(bins.values()), "sources": listing(list(moved))}
    return Goal(values, [[call("show_stock", sku=sku)], moves], set(bins))


@SCENARIO.pattern("call", test_only=True, after="gather")
def lock_gathered(house: Warehouse, words: Words, past: Goal) -> Goal:
    return Goal({"bin": past.values["target"]}, [[call("lock_bin", bin_id=past.values["target"])]])


@SCENARIO.pattern("precondition", test_only=True)
def lock_and_count(house: Warehouse, words: Words) -> Goal | None:
    placed = _placed(house, locked=False)
    if not placed:
        return None
    key, sku, units = words.rng.choice(placed)
    counted = _counted(house, words, key, sku, units)
    if counted is None:
        return None
    steps = [
        [call("lock_bin", bin_id=key)],
        [call("count_bin", bin_id=key, sku=sku, counted=counted)],
        [call("lock_bin", bin_id=key, locked=False)],
    ]
    return Goal({"bin": key, "sku": sku, "counted": counted}, steps)


@SCENARIO.pattern("precondition", test_only=True)
def unlock_and_receive(house: Warehouse, words: Words) -> Goal | None:
    able = [(key, bin_id) for key, order in _orders(house, "approved") for bin_id in _stores(house, order, locked=True)]
    if not able:
        return None
    key, target = words.rng.choice(able)
    prepare = [
        call("lock_bin", bin_id=target, locked=False),
        call("set_order_state", order_id=key, state="sent"),
    ]
    return Goal({"order": key, "bin": target}, [prepare, [call("receive_order", order_id=key, bin_id=target)]])
