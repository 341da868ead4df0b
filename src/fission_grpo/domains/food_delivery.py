"""A customer's food delivery account: restaurants and menus, the cart, addresses, vouchers, orders and couriers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import clock_time, each_once, known, named, spelled
from fission_grpo.domains.base import Argument, Domain, ToolError

Zone = Literal["north", "south", "east", "west", "center"]
ZONES: tuple[Zone, ...] = get_args(Zone)
OrderState = Literal["placed", "preparing", "on_the_way", "delivered", "cancelled"]
ORDER_STATES: tuple[OrderState, ...] = get_args(OrderState)
MOST = 30
"""Most portions of an item in the cart."""


class Address(Argument):
    """Where to deliver."""

    street: Annotated[str, Field(min_length=3)]
    zone: Zone


class Restaurant(BaseModel):
    """A restaurant and where it delivers."""

    name: str
    opens: str
    closes: str
    minimum: int
    fee: int
    zones: list[Zone]


class Item(BaseModel):
    """A dish on a restaurant's menu."""

    restaurant: str
    name: str
    price: int
    options: list[str]
    sold_out: bool


class Line(BaseModel):
    """Portions of one dish in the cart."""

    item: str
    quantity: int
    options: list[str]


class Voucher(BaseModel):
    """Money off one order."""

    off: int
    minimum: int
    used: bool = False


class Order(BaseModel):
    """An order and how far it is."""

    restaurant: str
    total: int
    address: str
    state: OrderState
    courier: str | None = None
    tip: int = 0
    payment: Literal["card", "cash"] = "card"
    deliver_at: str = "now"
    lines: list[Line] = []


class FoodState(BaseModel):
    """The whole account, and the restaurants around."""

    now: str
    restaurants: dict[str, Restaurant]
    items: dict[str, Item]
    addresses: dict[str, Address]
    vouchers: dict[str, Voucher]
    cart: list[Line] = []
    voucher: str | None = None
    """Voucher of the cart."""
    orders: dict[str, Order]
    next_order: int

    @property
    def subtotal(self) -> int:
        """What is in the cart, before fee and voucher."""
        return sum(self.items[line.item].price * line.quantity for line in self.cart)

    @property
    def cart_restaurant(self) -> str | None:
        """Whose dishes are in the cart."""
        return self.items[self.cart[0].item].restaurant if self.cart else None


class FoodDelivery(Domain):
    """The account."""

    name = "food_delivery"
    State = FoodState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random account with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        return cls.populate(
            rng,
            restaurants=["Golden Wok", "Casa Verde", "Noodle Bar"],
            dishes=["Spicy Ramen", "Green Curry", "Bean Burrito", "Lamb Stew", "Crispy Tofu", "Lentil Soup"],
            options=["extra cheese", "no onions", "gluten free"],
            addresses=[("home", "4 Elm Street"), ("office", "19 Dock Road")],
            couriers=["Anna Weber", "Omar Haddad"],
            ids=[str(number) for number in rng.sample(range(1000, 10000), 21)],
            times=["09:30", "13:20", "17:45", "22:10", "23:30"],
            counters=[41250],
            menu=3,
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        restaurants: Sequence[str],
        dishes: Sequence[str],
        options: Sequence[str],
        addresses: Sequence[tuple[str, str]],
        couriers: Sequence[str],
        ids: Sequence[str],
        times: Sequence[str],
        counters: Sequence[int],
        menu: int,
    ) -> Self:
        """A random account; `times`: an opening, now, a late opening, two closings; `menu` dishes a restaurant."""
        numbers = iter(ids)
        early, now, late, *closings = times
        places = {
            f"R{next(numbers)}": Restaurant(
                name=name,
                opens=late if number == 1 else early,
                closes=rng.choice(closings),
                minimum=rng.randrange(18, 55),
                fee=rng.randrange(2, 6),
                zones=sorted(rng.sample(ZONES, 4)),
            )
            for number, name in enumerate(restaurants)
        }
        items = {
            f"M{next(numbers)}": Item(
                restaurant=key,
                name=dish,
                price=rng.randrange(6, 20),
                options=rng.sample(options, min(2, len(options))),
                sold_out=rng.random() < 0.1,
            )
            for key in places
            for dish in rng.sample(dishes, menu)
        }
        states: list[OrderState] = ["delivered", "delivered", "delivered", "on_the_way", "placed", "preparing"]
        orders = {
            f"O{next(numbers)}": Order(
                restaurant=rng.choice(sorted(places)),
                total=rng.randrange(21, 90),
                address=rng.choice(addresses)[0],
                state=state,
                courier=rng.choice(couriers) if state in ("on_the_way", "delivered") else None,
            )
            for state in states
        }
        chosen = rng.choice([key for key, place in places.items() if place.opens <= now])
        offered = [key for key, item in items.items() if item.restaurant == chosen and not item.sold_out]
        picked = rng.sample(offered, min(len(offered), rng.choice([0, 1, 2, 2, 3])))
        return cls(
            FoodState(
                now=now,
                restaurants=places,
                items=items,
                addresses={label: Address(street=street, zone=rng.choice(ZONES)) for label, street in addresses},
                vouchers={
                    f"EAT{next(numbers)}": Voucher(off=off, minimum=4 * off) for off in rng.sample(range(3, 9), 3)
                },
                cart=[Line(item=key, quantity=rng.randint(1, 3), options=[]) for key in picked],
                orders=orders,
                next_order=counters[0],
            )
        )

    def find_restaurant(self, name: str) -> dict[str, Any]:
        """Look up a restaurant's id, hours, minimum order, zones.

        Args:
            name: Its name.
        """
        key, place = named("find_restaurant", "restaurant", self.state.restaurants, name)
        return {"restaurant_id": key, **place.model_dump(exclude={"name"})}

    def show_menu(self, restaurant_id: str) -> list[dict[str, Any]]:
        """Show dishes with prices and options.

        Args:
            restaurant_id: Such as R1234.
        """
        hint = "find_restaurant gives ids such as R1234"
        known("show_menu", "restaurant", self.state.restaurants, restaurant_id, hint)
        return [
            {"item_id": key, **item.model_dump(exclude={"restaurant"})}
            for key, item in self.state.items.items()
            if item.restaurant == restaurant_id
        ]

    def add_to_cart(
        self,
        item_id: str,
        quantity: Annotated[int, Field(ge=1, le=MOST)] = 1,
        options: list[str] = [],  # noqa: B006
    ) -> dict[str, Any]:
        """Put a dish into the cart.

        Args:
            item_id: Such as M1234.
            quantity: Portions.
            options: From the menu.
        """
        item: Item = known("add_to_cart", "item", self.state.items, item_id, "show_menu gives ids such as M1234")
        if item.sold_out:
            raise ToolError(f"add_to_cart: {item.name} is sold out")
        if (holds := self.state.cart_restaurant) not in (None, item.restaurant):
            raise ToolError(
                f"add_to_cart: the cart holds dishes of {self.state.restaurants[holds].name}; remove them first"
            )
        if options:
            each_once("add_to_cart", "options", options)
        if unknown := [option for option in options if option not in item.options]:
            raise ToolError(
                f"add_to_cart: {item.name} has no option '{unknown[0]}'; options: {', '.join(item.options)}"
            )
        portions = sum(line.quantity for line in self.state.cart if line.item == item_id) + quantity
        if portions > MOST:
            raise ToolError(f"add_to_cart: {portions} portions of {item.name} exceed the {MOST} allowed")
        chosen = sorted(options)
        for line in self.state.cart:
            if (line.item, line.options) == (item_id, chosen):
                line.quantity += quantity
                break
        else:
            self.state.cart.append(Line(item=item_id, quantity=quantity, options=chosen))
        return {"added": item.name, "quantity": quantity, "subtotal": self.state.subtotal}

    def remove_from_cart(self, item_ids: list[str]) -> dict[str, Any]:
        """Take dishes out of the cart, all portions.

        Args:
            item_ids: What to take out.
        """
        inside = list(dict.fromkeys(line.item for line in self.state.cart))
        each_once("remove_from_cart", "item_ids", item_ids)
        if absent := [key for key in item_ids if key not in inside]:
            raise ToolError(
                f"remove_from_cart: {absent[0]} is not in the cart; in it: {', '.join(inside) or 'nothing'}"
            )
        self.state.cart = [line for line in self.state.cart if line.item not in item_ids]
        if self.state.voucher and self.state.subtotal < self.state.vouchers[self.state.voucher].minimum:
            self.state.voucher = None
        return {"lines": len(self.state.cart), "subtotal": self.state.subtotal, "voucher": self.state.voucher}

    def show_cart(self) -> dict[str, Any]:
        """Show the cart's dishes, restaurant, subtotal, voucher."""
        return {
            "restaurant": self.state.restaurants[key].name if (key := self.state.cart_restaurant) else None,
            "dishes": [{"item_id": line.item, "quantity": line.quantity} for line in self.state.cart],
            "subtotal": self.state.subtotal,
            "voucher": self.state.voucher,
        }

    def save_address(self, label: Annotated[str, Field(min_length=2)], address: Address) -> dict[str, Any]:
        """Save a new delivery address.

        Args:
            label: Name for it.
            address: Where it is.
        """
        if spelled(label, self.state.addresses):
            raise ToolError(f"save_address: '{label}' exists already; labels: {', '.join(self.state.addresses)}")
        self.state.addresses[label] = address
        return {"saved": label, "zone": address.zone}

    def apply_voucher(self, code: str) -> dict[str, Any]:
        """Apply a voucher to the cart.

        Args:
            code: Such as EAT1234.
        """
        voucher: Voucher = known("apply_voucher", "voucher", self.state.vouchers, code, "codes look like EAT1234")
        if voucher.used:
            raise ToolError(f"apply_voucher: {code} is used up")
        if self.state.voucher:
            raise ToolError(f"apply_voucher: voucher {self.state.voucher} is applied already")
        if (subtotal := self.state.subtotal) < voucher.minimum:
            raise ToolError(f"apply_voucher: {code} needs a subtotal of {voucher.minimum}, cart has {subtotal}")
        self.state.voucher = code
        return {"off": voucher.off, "subtotal": subtotal - voucher.off}

    def place_order(
        self, address_label: str, payment: Literal["card", "cash"], deliver_at: str = "now"
    ) -> dict[str, Any]:
        """Order what is in the cart.

        Args:
            address_label: Saved address.
            payment: How to pay.
            deliver_at: HH:MM today, or now.
        """
        key = self.state.cart_restaurant
        if key is None:
            raise ToolError("place_order: the cart is empty")
        place, label = self.state.restaurants[key], spelled(address_label, self.state.addresses)
        if label is None:
            raise ToolError(f"place_order: no address '{address_label}'; saved: {', '.join(self.state.addresses)}")
        address = self.state.addresses[label]
        if address.zone not in place.zones:
            raise ToolError(
                f"place_order: {place.name} does not deliver to {address.zone}, only {', '.join(place.zones)}"
            )
        time = self.state.now if deliver_at == "now" else clock_time("place_order", "deliver_at", deliver_at)
        if time < self.state.now:
            raise ToolError(f"place_order: {time} has passed, it is {self.state.now}")
        if not place.opens <= time < place.closes:
            raise ToolError(f"place_order: {place.name} is closed at {time}, open {place.opens}-{place.closes}")
        subtotal = self.state.subtotal
        if subtotal < place.minimum:
            raise ToolError(f"place_order: subtotal {subtotal} is below the minimum {place.minimum} of {place.name}")
        code = self.state.voucher
        total = subtotal + place.fee - (self.state.vouchers[code].off if code else 0)
        order_id = self._new_id("O", "next_order", self.state.orders)
        self.state.orders[order_id] = Order(
            restaurant=key,
            total=total,
            address=label,
            state="placed",
            payment=payment,
            deliver_at=deliver_at,
            lines=self.state.cart,
        )
        if code:
            self.state.vouchers[code].used = True
        self.state.cart, self.state.voucher = [], None
        return {"order_id": order_id, "restaurant": place.name, "total": total}

    def list_orders(self, state: OrderState) -> list[dict[str, Any]]:
        """List orders in one state.

        Args:
            state: Which.
        """
        return [
            {"order_id": key, "restaurant": self.state.restaurants[order.restaurant].name}
            for key, order in self.state.orders.items()
            if order.state == state
        ]

    def track_order(self, order_id: str) -> dict[str, Any]:
        """Show an order's state, courier, address, total, tip.

        Args:
            order_id: Such as O1234.
        """
        return self._order("track_order", order_id).model_dump(exclude={"restaurant", "payment", "lines"})

    def cancel_order(self, order_id: str) -> dict[str, Any]:
        """Cancel an order that is only placed.

        Args:
            order_id: Which.
        """
        order = self._order("cancel_order", order_id)
        if order.state != "placed":
            raise ToolError(f"cancel_order: {order_id} is {order.state}, only a placed order can be cancelled")
        order.state = "cancelled"
        return {"cancelled": order_id, "refund": order.total}

    def confirm_delivery(self, order_id: str) -> dict[str, Any]:
        """Confirm that an order on the way has arrived.

        Args:
            order_id: Which.
        """
        order = self._order("confirm_delivery", order_id)
        if order.state != "on_the_way":
            raise ToolError(f"confirm_delivery: {order_id} is {order.state}, not on_the_way")
        order.state = "delivered"
        return {"delivered": order_id, "courier": order.courier}

    def tip_courier(self, order_id: str, amount: Annotated[int, Field(ge=1, le=60)]) -> dict[str, Any]:
        """Tip the courier of a delivered order, once.

        Args:
            order_id: Which.
            amount: Tip.
        """
        order = self._order("tip_courier", order_id)
        if order.state != "delivered":
            raise ToolError(f"tip_courier: {order_id} is {order.state}, not delivered yet")
        if order.tip:
            raise ToolError(f"tip_courier: {order_id} already has a tip of {order.tip}")
        order.tip = amount
        return {"courier": order.courier, "tip": amount}

    def _order(self, tool: str, key: str) -> Order:
        return known(tool, "order", self.state.orders, key, "list_orders gives ids such as O1234")
