"""A warehouse: products in bins of limited room, purchase orders, reservations, picking and cycle counts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import each_once, filled, known, named
from fission_grpo.domains.base import Argument, Domain, ToolError

Zone = Literal["ambient", "chilled", "frozen"]
OrderState = Literal["draft", "approved", "sent", "received", "cancelled"]
ZONES: tuple[Zone, ...] = get_args(Zone)
FOLLOWS: dict[str, tuple[OrderState, ...]] = {
    "approved": ("draft",),
    "sent": ("approved",),
    "cancelled": ("draft", "approved"),
}
"""The states that an order may leave for each of these."""
Units = Annotated[int, Field(ge=1)]


class Line(Argument):
    """Units of a product."""

    sku: str
    quantity: Units


class Product(BaseModel):
    """A product, stored in bins of its zone only."""

    name: str
    zone: Zone
    supplier_id: str


class Supplier(BaseModel):
    """A supplier; no order may have fewer units than `minimum`."""

    name: str
    minimum: int


class Bin(BaseModel):
    """A storage bin; `capacity` and `stock` in units, stock by SKU."""

    zone: Zone
    capacity: int
    stock: dict[str, int] = {}
    locked: bool = False


class Order(BaseModel):
    """A purchase order."""

    supplier_id: str
    lines: dict[str, int]
    """Units by SKU."""
    state: OrderState = "draft"


class Reservation(BaseModel):
    """Units promised to a customer."""

    sku: str
    quantity: int
    customer: str
    picked: bool = False


class WarehouseState(BaseModel):
    """The whole warehouse."""

    products: dict[str, Product]
    suppliers: dict[str, Supplier]
    bins: dict[str, Bin]
    orders: dict[str, Order]
    reservations: dict[str, Reservation]
    next_order: int
    next_reservation: int


class Warehouse(Domain):
    """The warehouse."""

    name = "warehouse_inventory"
    State = WarehouseState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random warehouse with everyday goods."""
        rng = random.Random(seed)  # noqa: S311
        goods = ["oat flakes", "green tea", "butter", "yoghurt", "frozen peas", "fish fillets"]
        return cls.populate(
            rng,
            products={f"SK{1400 + 111 * i}": name for i, name in enumerate(goods)},
            suppliers={"S210": "Hill Foods", "S455": "Nord Trade", "S731": "Baker & Sons"},
            bins=[f"B{number}" for number in range(101, 110)],
            orders=["PO3101", "PO3102", "PO3103", "PO3104"],
            reservations=["R5201", "R5202", "R5203", "R5204"],
            customers=["Corner Shop", "City Hotel", "School Kitchen"],
            quantities=rng.sample(range(20, 120), 24),
            first=rng.randrange(10000, 11000),
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        products: Mapping[str, str],
        suppliers: Mapping[str, str],
        bins: Sequence[str],
        orders: Sequence[str],
        reservations: Sequence[str],
        customers: Sequence[str],
        quantities: Sequence[int],
        first: int,
    ) -> Self:
        """A random warehouse: names by id, amounts of `quantities`; all bins beyond the ninth are in one zone."""
        busy = rng.choice(ZONES)
        goods = {
            sku: Product(name=name, zone=ZONES[i % 3], supplier_id=rng.choice(list(suppliers)))
            for i, (sku, name) in enumerate(products.items())
        }
        store = {key: Bin(zone=ZONES[i % 3] if i < 9 else busy, capacity=0) for i, key in enumerate(bins)}
        for sku, product in goods.items():
            for key in rng.sample([key for key in list(store)[:9] if store[key].zone == product.zone], 2):
                store[key].stock[sku] = rng.choice(quantities)
        for place in store.values():
            place.capacity = sum(place.stock.values()) + rng.choice(quantities) * rng.choice((1, 2, 3))
            place.locked = rng.random() < 0.25
        states: tuple[OrderState, ...] = ("draft", "approved", "approved", "sent", "received")
        bought = {}
        for i, key in enumerate(orders):
            sku = rng.choice(list(goods))
            lines = {sku: rng.choice(quantities)}
            bought[key] = Order(supplier_id=goods[sku].supplier_id, lines=lines, state=states[i % len(states)])
        held: dict[str, Reservation] = {}
        for key, sku in zip(reservations, rng.sample(list(goods), len(reservations)), strict=True):
            stock = sum(place.stock.get(sku, 0) for place in store.values() if not place.locked)
            quantity = rng.choice([number for number in quantities if number <= stock] or [0])
            if quantity:
                held[key] = Reservation(sku=sku, quantity=quantity, customer=rng.choice(customers))
        return cls(
            WarehouseState(
                products=goods,
                suppliers={
                    key: Supplier(name=name, minimum=rng.choice((20, 30, 40))) for key, name in suppliers.items()
                },
                bins=dict(sorted(store.items())),
                orders=dict(sorted(bought.items())),
                reservations=dict(sorted(held.items())),
                next_order=first,
                next_reservation=first,
            )
        )

    def find_product(self, name: str) -> dict[str, Any]:
        """Look up a product's SKU, zone and supplier.

        Args:
            name: Product name.
        """
        sku, product = named("find_product", "product", self.state.products, name)
        supplier: Supplier = self.state.suppliers[product.supplier_id]
        shown = {"sku": sku, "zone": product.zone, "supplier_id": product.supplier_id}
        return shown | {"supplier": supplier.name, "minimum_order": supplier.minimum}

    def show_stock(self, sku: str) -> dict[str, Any]:
        """Show a product's stock and reservations.

        Args:
            sku: Id such as SK1234.
        """
        self._product("show_stock", sku)
        bins = {key: place.stock[sku] for key, place in self.state.bins.items() if sku in place.stock}
        held = {key: one.quantity for key, one in self._promised(sku).items()}
        return {"bins": bins, "reservations": held, "available": sum(bins.values()) - sum(held.values())}

    def list_bins(self, zone: Zone) -> list[dict[str, Any]]:
        """List a zone's bins.

        Args:
            zone: Zone.
        """
        return [
            {"bin_id": key, "capacity": one.capacity, "free": _free(one), "locked": one.locked}
            for key, one in self.state.bins.items()
            if one.zone == zone
        ]

    def move_stock(self, sku: str, source_bin: str, target_bin: str, quantity: Units) -> dict[str, Any]:
        """Move units between unlocked bins of a zone.

        Args:
            sku: Product.
            source_bin: From.
            target_bin: To.
            quantity: Units.
        """
        product, source = self._product("move_stock", sku), self._unlocked("move_stock", source_bin)
        target = self._unlocked("move_stock", target_bin)
        if source_bin == target_bin:
            raise ToolError("move_stock: source and target are the same bin")
        if source.stock.get(sku, 0) < quantity:
            raise ToolError(f"move_stock: {source_bin} holds {source.stock.get(sku, 0)} of {sku}, not {quantity}")
        self._fits("move_stock", target_bin, product.zone, quantity)
        _change(source, sku, -quantity)
        _change(target, sku, quantity)
        return {source_bin: source.stock.get(sku, 0), target_bin: target.stock[sku]}

    def lock_bin(self, bin_id: str, locked: bool = True) -> dict[str, Any]:
        """Lock a bin for counting, or unlock it.

        Args:
            bin_id: Bin.
            locked: False to unlock.
        """
        place = self._bin("lock_bin", bin_id)
        if place.locked == locked:
            raise ToolError(f"lock_bin: {bin_id} is already {'locked' if locked else 'unlocked'}")
        place.locked = locked
        return {"bin_id": bin_id, "locked": locked}

    def count_bin(self, bin_id: str, sku: str, counted: Annotated[int, Field(ge=0)]) -> dict[str, Any]:
        """Correct a locked bin's stock.

        Args:
            bin_id: Locked bin.
            sku: Product.
            counted: Units found.
        """
        place, product = self._bin("count_bin", bin_id), self._product("count_bin", sku)
        if not place.locked:
            raise ToolError(f"count_bin: {bin_id} is not locked")
        change = counted - place.stock.get(sku, 0)
        if change > 0:
            self._fits("count_bin", bin_id, product.zone, change)
        if change + self._available(sku) < 0:
            raise ToolError(f"count_bin: {counted} would leave less of {sku} than is reserved")
        _change(place, sku, change)
        return {"bin_id": bin_id, "sku": sku, "counted": counted, "difference": change}

    def create_order(self, supplier_id: str, lines: list[Line]) -> dict[str, Any]:
        """Draft a purchase order.

        Args:
            supplier_id: Id from find_product.
            lines: Products of this supplier.
        """
        hint = "find_product gives ids"
        supplier: Supplier = known("create_order", "supplier", self.state.suppliers, supplier_id, hint)
        each_once("create_order", "lines", [line.sku for line in lines])
        wanted = {line.sku: line.quantity for line in lines}
        for sku in wanted:
            if self._product("create_order", sku).supplier_id != supplier_id:
                raise ToolError(f"create_order: {supplier_id} does not deliver {sku}")
        if sum(wanted.values()) < supplier.minimum:
            raise ToolError(f"create_order: {sum(wanted.values())} units are below the minimum of {supplier.minimum}")
        key = self._new_id("PO", "next_order", self.state.orders)
        self.state.orders[key] = Order(supplier_id=supplier_id, lines=wanted)
        return {"order_id": key, "state": "draft"}

    def show_order(self, order_id: str) -> dict[str, Any]:
        """Show a purchase order.

        Args:
            order_id: Id such as PO1234.
        """
        shown: dict[str, Any] = self._order("show_order", order_id).model_dump()
        return shown

    def set_order_state(self, order_id: str, state: Literal["approved", "sent", "cancelled"]) -> dict[str, Any]:
        """Approve a draft, send an approved order, cancel one unsent.

        Args:
            order_id: Order.
            state: New state.
        """
        order = self._order("set_order_state", order_id)
        if order.state == state:
            raise ToolError(f"set_order_state: {order_id} is already {state}")
        if order.state not in FOLLOWS[state]:
            needed = " or ".join(FOLLOWS[state])
            raise ToolError(f"set_order_state: {order_id} is {order.state}, must be {needed} before it is {state}")
        order.state = state
        return {"order_id": order_id, "state": state}

    def receive_order(self, order_id: str, bin_id: str) -> dict[str, Any]:
        """Store a sent order's goods.

        Args:
            order_id: Sent order.
            bin_id: Unlocked bin with room.
        """
        order, place = self._order("receive_order", order_id), self._unlocked("receive_order", bin_id)
        if order.state != "sent":
            raise ToolError(f"receive_order: {order_id} is {order.state}, it must be sent")
        for sku in order.lines:
            self._fits("receive_order", bin_id, self.state.products[sku].zone, sum(order.lines.values()))
        for sku, quantity in order.lines.items():
            _change(place, sku, quantity)
        order.state = "received"
        return {"order_id": order_id, "bin_id": bin_id, "stored": dict(order.lines)}

    def reserve_stock(self, sku: str, quantity: Units, customer: str) -> dict[str, Any]:
        """Reserve available units.

        Args:
            sku: Product.
            quantity: Units.
            customer: Customer's name.
        """
        self._product("reserve_stock", sku)
        filled("reserve_stock", "customer", customer, 60)
        available = self._available(sku)
        if quantity > available:
            raise ToolError(f"reserve_stock: {available} of {sku} are available, not {quantity}")
        key = self._new_id("R", "next_reservation", self.state.reservations)
        self.state.reservations[key] = Reservation(sku=sku, quantity=quantity, customer=customer)
        return {"reservation_id": key, "available": available - quantity}

    def release_reservation(self, reservation_id: str) -> dict[str, Any]:
        """Give up a reservation.

        Args:
            reservation_id: Id such as R1234.
        """
        held = self._reservation("release_reservation", reservation_id)
        del self.state.reservations[reservation_id]
        return {"released": reservation_id, "quantity": held.quantity}

    def pick_reservations(self, reservation_ids: list[str]) -> list[dict[str, Any]]:
        """Pick reserved units out of unlocked bins.

        Args:
            reservation_ids: Reservations.
        """
        each_once("pick_reservations", "reservation_ids", reservation_ids)
        left = {key: dict(place.stock) for key, place in self.state.bins.items() if not place.locked}
        picks = []
        for reservation_id in sorted(reservation_ids):
            held = self._reservation("pick_reservations", reservation_id)
            missing = held.quantity
            for key, stock in left.items():
                taken = min(missing, stock.get(held.sku, 0))
                if taken:
                    stock[held.sku] -= taken
                    missing -= taken
                    picks.append({"bin_id": key, "sku": held.sku, "quantity": taken})
            if missing:
                raise ToolError(f"pick_reservations: {reservation_id} lacks {missing} of {held.sku} in unlocked bins")
        for pick in picks:
            _change(self.state.bins[pick["bin_id"]], pick["sku"], -pick["quantity"])
        for reservation_id in reservation_ids:
            self.state.reservations[reservation_id].picked = True
        return picks

    def _product(self, tool: str, sku: str) -> Product:
        return known(tool, "product", self.state.products, sku, "find_product gives SKUs such as SK1234")

    def _order(self, tool: str, order_id: str) -> Order:
        return known(tool, "order", self.state.orders, order_id, "ids look like PO1234")

    def _reservation(self, tool: str, reservation_id: str) -> Reservation:
        hint = "show_stock gives ids such as R1234"
        found: Reservation = known(tool, "reservation", self.state.reservations, reservation_id, hint)
        if found.picked:
            raise ToolError(f"{tool}: {reservation_id} has already been picked")
        return found

    def _bin(self, tool: str, bin_id: str) -> Bin:
        return known(tool, "bin", self.state.bins, bin_id, "list_bins gives ids such as B123")

    def _unlocked(self, tool: str, bin_id: str) -> Bin:
        place = self._bin(tool, bin_id)
        if place.locked:
            raise ToolError(f"{tool}: {bin_id} is locked")
        return place

    def _fits(self, tool: str, bin_id: str, zone: Zone, quantity: int) -> None:
        """Refuses goods of another zone, or more of them than the bin has room for."""
        place = self._bin(tool, bin_id)
        if place.zone != zone:
            raise ToolError(f"{tool}: {bin_id} is {place.zone}, the goods need {zone}")
        if quantity > _free(place):
            raise ToolError(f"{tool}: {bin_id} has room for {_free(place)} units, not {quantity}")

    def _available(self, sku: str) -> int:
        """Units in stock that are not reserved."""
        stock = sum(place.stock.get(sku, 0) for place in self.state.bins.values())
        return stock - sum(one.quantity for one in self._promised(sku).values())

    def _promised(self, sku: str) -> dict[str, Reservation]:
        """A product's reservations that are not picked yet."""
        held = self.state.reservations
        return {key: one for key, one in held.items() if one.sku == sku and not one.picked}


def _free(place: Bin) -> int:
    return place.capacity - sum(place.stock.values())


def _change(place: Bin, sku: str, units: int) -> None:
    """Adds units to a bin, or takes them out; what is used up is no longer listed."""
    place.stock[sku] = place.stock.get(sku, 0) + units
    if not place.stock[sku]:
        del place.stock[sku]
