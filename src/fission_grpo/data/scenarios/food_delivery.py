"""Goal patterns of the food delivery account."""

from __future__ import annotations

from pathlib import Path

from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.food_delivery import MOST, ZONES, FoodDelivery, Order, OrderState

POOLS = {
    "restaurants": [
        "Golden Wok", "Casa Verde", "Noodle Bar", "Clay Oven House", "Bella Napoli", "Saffron House", "Ocean Grill",
        "Taco Corner", "Green Bowl", "Burger Barn", "Sakura Garden", "Olive Tree", "Spice Route", "La Petite Table",
        "Dragon Palace", "Falafel King", "Pierogi Place", "Hungry Goat", "Mama Rosa", "Lotus Kitchen",
        "Smokehouse Ten", "El Camino", "Curry Leaf", "Salad Yard", "Bosphorus", "Red Lantern", "Little Athens",
        "Waffle Works",
    ],
    "styles": [
        "Spicy", "Crispy", "Smoky", "Roasted", "Creamy", "Garlic", "Grilled", "Sweet", "Homemade", "Braised", "Ginger",
        "Lemon", "Pickled", "Tangy", "Baked", "Peppered", "Herbed", "Golden", "Sesame", "Rustic", "Stuffed", "Glazed",
        "Mild", "Honey",
    ],
    "dishes": [
        "Ramen", "Curry", "Burrito", "Stew", "Tofu", "Soup", "Pizza", "Lasagne", "Salad", "Dumplings", "Burger",
        "Risotto", "Kebab", "Paella", "Noodles", "Pancakes", "Falafel", "Moussaka", "Gnocchi", "Chowder", "Ribs",
        "Tacos", "Quiche", "Biryani", "Goulash", "Omelette", "Pie", "Sandwich",
    ],
    "options": [
        "extra cheese", "no onions", "gluten free", "extra sauce", "no garlic", "double meat", "vegan cheese",
        "without nuts", "thin crust", "extra chili", "no salt", "brown rice", "side of bread", "less oil",
        "added mushrooms", "no coriander", "extra crunchy", "sauce aside", "with avocado", "half portion",
        "without egg", "lactose free", "extra lime", "no sugar",
    ],
    "labels": [
        "home", "office", "gym", "studio", "cabin", "workshop", "dorm", "library", "clubhouse", "garage", "lake house",
        "school", "sister's place", "grandma's flat", "warehouse", "hospital ward", "rehearsal room", "garden shed",
        "band room", "summer house", "lab", "houseboat", "old flat", "showroom",
    ],
    "streets": [
        "4 Elm Street", "19 Dock Road", "7 Mill Lane", "52 King Street", "88 Harbour View", "3 Chapel Close",
        "16 Station Road", "241 Park Avenue", "9 Orchard Way", "33 Castle Hill", "61 Bridge Street", "5 Weaver Row",
        "128 Lincoln Drive", "14 Meadow Path", "77 Foundry Lane", "2 Abbey Square", "45 Quarry Road", "10 Fern Court",
        "306 Ocean Boulevard", "23 Tower Street", "68 Rose Alley", "11 Canal Side", "95 Highfield Road",
        "37 Nelson Row",
    ],
}  # fmt: skip


def build(words: Words) -> FoodDelivery:
    """A random account with the split's restaurants; in a large world their menus are long."""
    names = [f"{style} {dish}" for style in words.pools["styles"] for dish in words.pools["dishes"]]
    times = [words.times(1, *span, step=5)[0] for span in (("06:00", "11:00"), ("12:00", "16:00"), ("16:30", "19:00"))]
    return FoodDelivery.populate(
        words.rng,
        restaurants=words.sample("restaurants", 3 if words.large else 4),
        dishes=names,
        options=words.sample("options", 4),
        addresses=list(zip(words.sample("labels", 3), words.sample("streets", 3), strict=True)),
        couriers=words.people(3),
        ids=words.ids("", 84),
        times=[*times, *words.times(2, "21:30", "23:55", step=5)],
        counters=[words.counter()],
        menu=20 if words.large else 4,
    )


SCENARIO = Scenario(FoodDelivery, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _orders(app: FoodDelivery, words: Words, state: OrderState, count: int) -> list[str]:
    """Some orders in a state, none with a tip."""
    orders = [key for key, order in app.state.orders.items() if order.state == state and not order.tip]
    return words.choose(orders, count)


def _older(app: FoodDelivery) -> dict[str, Order]:
    """Orders that the dialogue has not seen being placed."""
    return {key: order for key, order in app.state.orders.items() if not order.lines}


def _addable(app: FoodDelivery, words: Words) -> str | None:
    """A dish that may join what is in the cart."""
    fits = (None, app.state.cart_restaurant)
    items = [
        key
        for key, item in app.state.items.items()
        if not item.sold_out and (app.state.cart_restaurant is None or item.restaurant in fits)
    ]
    return words.rng.choice(items) if items else None


def _portions(app: FoodDelivery, item: str) -> int:
    return sum(line.quantity for line in app.state.cart if line.item == item)


def _total(app: FoodDelivery) -> int | None:
    """What ordering the cart would cost; None where it is below the restaurant's minimum."""
    state = app.state
    if state.cart_restaurant is None:
        return None
    place = state.restaurants[state.cart_restaurant]
    off: int = state.vouchers[state.voucher].off if state.voucher else 0
    return state.subtotal + place.fee - off if state.subtotal >= place.minimum else None


def _open_at(app: FoodDelivery, time: str) -> bool:
    place = app.state.restaurants[app.state.cart_restaurant]
    return bool(place.opens <= time < place.closes)


def _reachable(app: FoodDelivery) -> list[str]:
    """Saved addresses that the cart's restaurant delivers to."""
    zones = app.state.restaurants[app.state.cart_restaurant].zones
    return [label for label, address in app.state.addresses.items() if address.zone in zones]


def _new_label(app: FoodDelivery, words: Words) -> str | None:
    labels = [label for label in words.pools["labels"] if label not in app.state.addresses]
    return words.rng.choice(labels) if labels else None


@SCENARIO.pattern("call")
def add_item(app: FoodDelivery, words: Words) -> Goal | None:
    item, quantity = _addable(app, words), words.number(2, 24)
    if item is None or _portions(app, item) + quantity > MOST:
        return None
    dish = app.state.items[item]
    values = {
        "item": item,
        "quantity": quantity,
        "dish": dish.name,
        "subtotal": app.state.subtotal + quantity * dish.price,
    }
    return Goal(values, [[call("add_to_cart", item_id=item, quantity=quantity)]])


@SCENARIO.pattern("call")
def follow_order(app: FoodDelivery, words: Words) -> Goal | None:
    key, order = words.rng.choice(list(_older(app).items()))
    values = {
        "order": key,
        "courier": order.courier or "nobody yet",
        "total": order.total,
        "tip": order.tip,
    }
    return Goal(values, [[call("track_order", order_id=key)]])


@SCENARIO.pattern("call")
def tip_one(app: FoodDelivery, words: Words) -> Goal | None:
    delivered, amount = _orders(app, words, "delivered", 1), words.number(2, 50)
    if not delivered:
        return None
    values = {"order": delivered[0], "amount": amount, "courier": app.state.orders[delivered[0]].courier}
    return Goal(values, [[call("tip_courier", order_id=delivered[0], amount=amount)]])


@SCENARIO.pattern("call")
def new_address(app: FoodDelivery, words: Words) -> Goal | None:
    label, street, zone = _new_label(app, words), words.pick("streets"), words.rng.choice(ZONES)
    if label is None or street in {address.street for address in app.state.addresses.values()}:
        return None
    values = {"label": label, "street": street, "zone": zone}
    return Goal(values, [[call("save_address", label=label, address={"street": street, "zone": zone})]])


@SCENARIO.pattern("parallel")
def two_tips(app: FoodDelivery, words: Words) -> Goal | None:
    delivered, (much, more) = _orders(app, words, "delivered", 2), words.numbers(2, 2, 50)
    if len(delivered) < 2:
        return None
    first, second = delivered
    values = {"first": first, "much": much, "second": second, "more": more}
    return Goal(
        values, [[call("tip_courier", order_id=key, amount=tip) for key, tip in ((first, much), (second, more))]]
    )


@SCENARIO.pattern("parallel")
def two_restaurants(app: FoodDelivery, words: Words) -> Goal | None:
    first, second = words.choose(list(app.state.restaurants.values()), 2)
    values = {
        "first": first.name, "first_minimum": first.minimum, "first_hours": f"{first.opens}-{first.closes}",
        "second": second.name, "second_minimum": second.minimum, "second_hours": f"{second.opens}-{second.closes}",
    }  # fmt: skip
    return Goal(values, [[call("find_restaurant", name=first.name), call("find_restaurant", name=second.name)]])


@SCENARIO.pattern("chained")
def menu_of(app: FoodDelivery, words: Words) -> Goal | None:
    key, place = words.rng.choice(list(app.state.restaurants.items()))
    menu = {item: dish for item, dish in app.state.items.items() if dish.restaurant == key}
    offered = listing([f"{dish.name} ({dish.price})" for dish in menu.values()])
    values = {"name": place.name, "count": len(menu), "offered": offered}
    steps = [[call("find_restaurant", name=place.name)], [call("show_menu", restaurant_id=key)]]
    return Goal(values, steps, shown={key, *menu})


@SCENARIO.pattern("chained")
def add_dish(app: FoodDelivery, words: Words) -> Goal | None:
    if (item := _addable(app, words)) is None or _portions(app, item):
        return None
    dish = app.state.items[item]
    place, option = app.state.restaurants[dish.restaurant], words.rng.choice(dish.options)
    values = {
        "name": place.name,
        "dish": dish.name,
        "option": option,
        "subtotal": app.state.subtotal + dish.price,
    }
    steps = [
        [call("find_restaurant", name=place.name)],
        [call("show_menu", restaurant_id=dish.restaurant)],
        [call("add_to_cart", item_id=item, options=[option])],
    ]
    return Goal(values, steps, shown={dish.restaurant, item})


@SCENARIO.pattern("precondition")
def fill_and_order(app: FoodDelivery, words: Words) -> Goal | None:
    item, quantity, payment = _addable(app, words), words.number(2, 24), words.rng.choice(["card", "cash"])
    if not app.state.cart or item is None or _portions(app, item) + quantity > MOST:
        return None
    place, added = app.state.restaurants[app.state.cart_restaurant], quantity * app.state.items[item].price
    reachable, subtotal = _reachable(app), app.state.subtotal
    if not (subtotal < place.minimum <= subtotal + added) or not _open_at(app, app.state.now) or not reachable:
        return None
    label, off = words.rng.choice(reachable), app.state.vouchers[app.state.voucher].off if app.state.voucher else 0
    values = {
        "item": item,
        "quantity": quantity,
        "label": label,
        "payment": payment,
        "total": subtotal + added + place.fee - off,
    }
    steps = [
        [call("add_to_cart", item_id=item, quantity=quantity)],
        [call("place_order", address_label=label, payment=payment)],
    ]
    return Goal(values, steps)


@SCENARIO.pattern("precondition")
def switch_restaurant(app: FoodDelivery, words: Words) -> Goal | None:
    quantity = words.number(2, 24)
    items = [
        key
        for key, item in app.state.items.items()
        if not item.sold_out and item.restaurant != app.state.cart_restaurant
    ]
    if not app.state.cart or not items:
        return None
    item, inside = words.rng.choice(items), list(dict.fromkeys(line.item for line in app.state.cart))
    dish = app.state.items[item]
    values = {"item": item, "quantity": quantity, "dish": dish.name, "subtotal": quantity * dish.price}
    steps = [
        [call("show_cart")],
        [call("remove_from_cart", item_ids=inside)],
        [call("add_to_cart", item_id=item, quantity=quantity)],
    ]
    return Goal(values, steps, shown=set(inside))


@SCENARIO.pattern("call", after="tip_one")
def same_tip(app: FoodDelivery, words: Words, past: Goal) -> Goal | None:
    delivered, amount = _orders(app, words, "delivered", 1), past.values["amount"]
    if not delivered:
        return None
    values = {"order": delivered[0], "amount": amount, "courier": app.state.orders[delivered[0]].courier}
    return Goal(values, [[call("tip_courier", order_id=delivered[0], amount=amount)]])


@SCENARIO.pattern("call", after="add_item")
def more_of_it(app: FoodDelivery, words: Words, past: Goal) -> Goal | None:
    item, quantity = past.values["item"], words.number(2, 24)
    if quantity == past.values["quantity"] or _portions(app, item) + quantity > MOST:
        return None
    subtotal = app.state.subtotal + quantity * app.state.items[item].price
    values = {"quantity": quantity, "dish": past.values["dish"], "subtotal": subtotal}
    return Goal(values, [[call("add_to_cart", item_id=item, quantity=quantity)]])


@SCENARIO.pattern("call", test_only=True)
def use_voucher(app: FoodDelivery, words: Words) -> Goal | None:
    state = app.state
    fitting = [key for key, voucher in state.vouchers.items() if not voucher.used and state.subtotal >= voucher.minimum]
    if state.voucher or not fitting:
        return None
    code = words.rng.choice(fitting)
    values = {"code": code, "off": state.vouchers[code].off, "left": state.subtotal - state.vouchers[code].off}
    return Goal(values, [[call("apply_voucher", code=code)]])


@SCENARIO.pattern("parallel", test_only=True)
def three_errands(app: FoodDelivery, words: Words) -> Goal | None:
    placed, delivered = _orders(app, words, "placed", 1), _orders(app, words, "delivered", 1)
    label, street, zone, amount = (
        _new_label(app, words),
        words.pick("streets"),
        words.rng.choice(ZONES),
        words.number(2, 50),
    )
    known = {address.street for address in app.state.addresses.values()}
    if not placed or not delivered or label is None or street in known:
        return None
    values = {
        "placed": placed[0], "delivered": delivered[0], "amount": amount, "label": label, "street": street,
        "zone": zone, "refund": app.state.orders[placed[0]].total,
    }  # fmt: skip
    step = [
        call("cancel_order", order_id=placed[0]),
        call("tip_courier", order_id=delivered[0], amount=amount),
        call("save_address", label=label, address={"street": street, "zone": zone}),
    ]
    return Goal(values, [step])


@SCENARIO.pattern("chained", test_only=True)
def cancel_by_name(app: FoodDelivery, words: Words) -> Goal | None:
    placed = [key for key, order in app.state.orders.items() if order.state == "placed"]
    older = [key for key in placed if key in _older(app)]
    if not older:
        return None
    chosen = words.rng.choice(older)
    places = [app.state.orders[key].restaurant for key in placed]
    if places.count(app.state.orders[chosen].restaurant) > 1:
        return None
    name = app.state.restaurants[app.state.orders[chosen].restaurant].name
    steps = [[call("list_orders", state="placed")], [call("cancel_order", order_id=chosen)]]
    return Goal({"name": name, "refund": app.state.orders[chosen].total}, steps, shown=set(placed))


@SCENARIO.pattern("precondition", test_only=True)
def arrived_and_tip(app: FoodDelivery, words: Words) -> Goal | None:
    coming, amount = _orders(app, words, "on_the_way", 9), words.number(2, 50)
    if len(coming) != 1:
        return None
    order = app.state.orders[coming[0]]
    values = {"amount": amount, "courier": order.courier, "name": app.state.restaurants[order.restaurant].name}
    steps = [
        [call("list_orders", state="on_the_way")],
        [call("confirm_delivery", order_id=coming[0])],
        [call("tip_courier", order_id=coming[0], amount=amount)],
    ]
    return Goal(values, steps, shown={coming[0]})


@SCENARIO.pattern("precondition", test_only=True)
def order_elsewhere(app: FoodDelivery, words: Words) -> Goal | None:
    total, label, street = _total(app), _new_label(app, words), words.pick("streets")
    time = words.times(1, "19:15", "21:25", step=5)[0]
    if total is None or label is None or not _open_at(app, time):
        return None
    if street in {address.street for address in app.state.addresses.values()}:
        return None
    zone = words.rng.choice(app.state.restaurants[app.state.cart_restaurant].zones)
    payment = words.rng.choice(["card", "cash"])
    values = {
        "label": label, "street": street, "zone": zone, "payment": payment, "time": words.say_time(time), "total": total
    }  # fmt: skip
    steps = [
        [call("save_address", label=label, address={"street": street, "zone": zone})],
        [call("place_order", address_label=label, payment=payment, deliver_at=time)],
    ]
    return Goal(values, steps)


@SCENARIO.pattern("call", test_only=True, after="use_voucher")
def order_it(app: FoodDelivery, words: Words, past: Goal) -> Goal | None:
    total, payment = _total(app), words.rng.choice(["card", "cash"])
    if total is None or not _open_at(app, app.state.now) or not (reachable := _reachable(app)):
        return None
    label = words.rng.choice(reachable)
    values = {"label": label, "payment": payment, "total": total}
    return Goal(values, [[call("place_order", address_label=label, payment=payment)]])
