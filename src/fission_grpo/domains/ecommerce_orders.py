"""A web shop's order desk: variants and stock, orders from placing to delivery, coupons, returns and refunds."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date as Date
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import alike, each_once, filled, known
from fission_grpo.domains.base import Argument, Domain, ToolError

Status = Literal["placed", "paid", "packed", "shipped", "delivered"]
STATUSES: tuple[Status, ...] = get_args(Status)
Carrier = Literal["post", "courier", "freight"]
RETURN_DAYS, MOST_BY_POST, MOST_LINES = 30, 8, 5


class Line(Argument):
    """A variant's quantity."""

    sku: str
    quantity: Annotated[int, Field(ge=1, le=20)]


class Address(Argument):
    """Where it goes."""

    street: str
    city: str


class Variant(BaseModel):
    """A product in one of its versions."""

    product: str
    variant: str
    price: int
    stock: int


class Coupon(BaseModel):
    """A discount."""

    percent: int
    minimum: int
    expires: str


class Order(BaseModel):
    """A customer's order; `delivered` is a date."""

    customer: str
    date: str
    status: Status
    lines: list[Line]
    address: Address
    coupon: str | None = None
    carrier: Carrier | None = None
    delivered: str | None = None


class Return(BaseModel):
    """Variants of an order that come back; `refunded` names where the money went."""

    order_id: str
    skus: list[str]
    refunded: Literal["payment", "store_credit"] | None = None


class ShopState(BaseModel):
    """The whole desk."""

    today: str
    variants: dict[str, Variant]
    coupons: dict[str, Coupon]
    orders: dict[str, Order]
    returns: dict[str, Return] = {}
    next_order: int
    next_return: int


class EcommerceOrders(Domain):
    """The order desk."""

    name = "ecommerce_orders"
    State = ShopState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random shop with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        ids = rng.sample(range(1000, 10000), 15)
        return cls.populate(
            rng,
            today="2026-05-04",
            variants={
                f"K{ids.pop()}": Variant(product=product, variant=variant, price=price, stock=12)
                for product, price in (("wool scarf", 35), ("desk lamp", 60))
                for variant in ("grey", "red", "green")
            },
            coupons={"SPRING10": Coupon(percent=10, minimum=50, expires="2026-06-30")},
            orders={f"O{ids.pop()}": f"2026-04-{day:02}" for day in range(3, 21, 2)},
            customers=["Anna Weber", "Omar Haddad", "Lucy Chen"],
            addresses=[Address(street="4 Elm Street", city="Porto"), Address(street="9 Quay Road", city="Bergen")],
            counters=(500, 70),
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        today: str,
        variants: Mapping[str, Variant],
        coupons: Mapping[str, Coupon],
        orders: Mapping[str, str],
        customers: Sequence[str],
        addresses: Sequence[Address],
        counters: tuple[int, int],
    ) -> Self:
        """A random shop; `orders` maps ids to ascending dates: nine in all states, before them the first customer's.

        One of the paid orders wants more of a variant than there is.
        """
        newest: list[Status] = ["delivered", "delivered", "shipped", "packed", "packed", "paid", "paid", "placed"]
        newest.append("placed")
        old = len(orders) - len(newest)
        found: dict[str, Order] = {}
        for place, (key, date) in enumerate(orders.items()):
            status = newest[place - old] if place >= old else "delivered"
            shipped = status in ("shipped", "delivered")
            ago = rng.randrange(3, 25) if place >= old else 40
            found[key] = Order(
                customer=rng.choice(customers) if place >= old else customers[0],
                date=date,
                status=status,
                lines=[Line(sku=sku, quantity=rng.randint(1, 3)) for sku in rng.sample(list(variants), 2)],
                address=rng.choice(addresses),
                carrier="courier" if shipped else None,
                delivered=(Date.fromisoformat(today) - timedelta(days=ago)).isoformat()
                if status == "delivered"
                else None,
            )
        wanting = next(order for order in found.values() if order.status == "paid").lines[0]
        variants[wanting.sku].stock = wanting.quantity - 1
        return cls(
            ShopState(
                today=today,
                variants=dict(variants),
                coupons=dict(coupons),
                orders=found,
                next_order=counters[0],
                next_return=counters[1],
            )
        )

    def find_product(self, name: str) -> list[dict[str, Any]]:
        """List a product's variants, price and stock.

        Args:
            name: Product name.
        """
        found = [
            {"sku": sku, "variant": item.variant, "price": item.price, "stock": item.stock}
            for sku, item in self.state.variants.items()
            if alike(item.product, name)
        ]
        if not found:
            names = ", ".join(dict.fromkeys(item.product for item in self.state.variants.values()))
            raise ToolError(f"find_product: no product named '{name}'; products: {names}")
        return found

    def find_orders(self, customer: str) -> list[dict[str, Any]]:
        """List a customer's orders.

        Args:
            customer: Full name.
        """
        found = [
            {"order_id": key, "date": order.date, "status": order.status}
            for key, order in self.state.orders.items()
            if alike(order.customer, customer)
        ]
        if not found:
            raise ToolError(f"find_orders: no orders of a customer named '{customer}'")
        return found

    def get_order(self, order_id: str) -> dict[str, Any]:
        """Show an order's items, total and status.

        Args:
            order_id: Order id.
        """
        order = self._order("get_order", order_id)
        variants = self.state.variants
        lines = [
            {
                "sku": line.sku,
                "product": variants[line.sku].product,
                "variant": variants[line.sku].variant,
                "quantity": line.quantity,
            }
            for line in order.lines
        ]
        address = f"{order.address.street}, {order.address.city}"
        return {"status": order.status, "lines": lines, "address": address, "total": self._total(order)}

    def place_order(self, customer: str, lines: list[Line], address: Address) -> dict[str, Any]:
        """Place an unpaid order.

        Args:
            customer: Full name.
            lines: Items.
            address: Delivery address.
        """
        filled("place_order", "customer", customer)
        if not 1 <= len(lines) <= MOST_LINES:
            raise ToolError(f"place_order: an order has 1 to {MOST_LINES} lines, got {len(lines)}")
        each_once("place_order", "lines", [line.sku for line in lines])
        _check_address("place_order", address)
        for line in lines:
            item = self._variant("place_order", line.sku)
            if line.quantity > item.stock:
                raise ToolError(f"place_order: {line.quantity} of {line.sku} wanted, {item.stock} in stock")
        key = self._new_id("O", "next_order", self.state.orders)
        order = Order(customer=customer, date=self.state.today, status="placed", lines=lines, address=address)
        self.state.orders[key] = order
        return {"order_id": key, "total": self._total(order)}

    def apply_coupon(self, order_id: str, code: str) -> dict[str, Any]:
        """Discount an unpaid order.

        Args:
            order_id: Order id.
            code: Coupon code.
        """
        order = self._order("apply_coupon", order_id, "placed")
        coupon = self.state.coupons.get(code)
        if coupon is None:
            raise ToolError(f"apply_coupon: no coupon with code '{code}'")
        if order.coupon:
            raise ToolError(f"apply_coupon: {order_id} already has coupon {order.coupon}")
        if coupon.expires < self.state.today:
            raise ToolError(f"apply_coupon: {code} expired on {coupon.expires}")
        total = self._total(order)
        if total < coupon.minimum:
            raise ToolError(f"apply_coupon: {code} needs a total of {coupon.minimum}, {order_id} has {total}")
        order.coupon = code
        return {"order_id": order_id, "total": self._total(order)}

    def pay_order(self, order_id: str, amount: Annotated[int, Field(ge=1)]) -> dict[str, Any]:
        """Pay a placed order in full.

        Args:
            order_id: Order id.
            amount: Order total.
        """
        order = self._order("pay_order", order_id, "placed")
        if amount != (total := self._total(order)):
            raise ToolError(f"pay_order: amount {amount} is not the total {total} of {order_id}")
        order.status = "paid"
        return {"order_id": order_id, "status": "paid"}

    def pack_order(self, order_id: str) -> dict[str, Any]:
        """Pack a paid order from stock.

        Args:
            order_id: Order id.
        """
        order = self._order("pack_order", order_id, "paid")
        for line in order.lines:
            item = self.state.variants[line.sku]
            if line.quantity > item.stock:
                raise ToolError(f"pack_order: {order_id} needs {line.quantity} of {line.sku}, {item.stock} in stock")
        for line in order.lines:
            self.state.variants[line.sku].stock -= line.quantity
        order.status = "packed"
        return {"order_id": order_id, "status": "packed"}

    def ship_order(self, order_id: str, carrier: Carrier) -> dict[str, Any]:
        """Ship a packed order. Post: up to 8 pieces.

        Args:
            order_id: Order id.
            carrier: Carrier.
        """
        order = self._order("ship_order", order_id, "packed")
        pieces = sum(line.quantity for line in order.lines)
        if carrier == "post" and pieces > MOST_BY_POST:
            raise ToolError(f"ship_order: post takes {MOST_BY_POST} pieces, {order_id} has {pieces}")
        order.status, order.carrier = "shipped", carrier
        return {"order_id": order_id, "status": "shipped", "carrier": carrier}

    def confirm_delivery(self, order_id: str) -> dict[str, Any]:
        """Record a shipped order's arrival.

        Args:
            order_id: Order id.
        """
        order = self._order("confirm_delivery", order_id, "shipped")
        order.status, order.delivered = "delivered", self.state.today
        return {"order_id": order_id, "status": "delivered"}

    def change_address(self, order_id: str, address: Address) -> dict[str, Any]:
        """Redirect an unshipped order.

        Args:
            order_id: Order id.
            address: New address.
        """
        order = self._order("change_address", order_id)
        if order.status in ("shipped", "delivered"):
            raise ToolError(f"change_address: {order_id} is already {order.status}")
        _check_address("change_address", address)
        order.address = address
        return {"order_id": order_id, "address": f"{address.street}, {address.city}"}

    def open_return(self, order_id: str, skus: list[str]) -> dict[str, Any]:
        """Take back delivered items within 30 days.

        Args:
            order_id: Order id.
            skus: Variants.
        """
        order = self._order("open_return", order_id, "delivered")
        each_once("open_return", "skus", skus)
        bought = [line.sku for line in order.lines]
        for sku in skus:
            if sku not in bought:
                raise ToolError(f"open_return: {order_id} has no '{sku}'; it has {', '.join(bought)}")
        back = {sku for taken in self.state.returns.values() if taken.order_id == order_id for sku in taken.skus}
        if again := [sku for sku in skus if sku in back]:
            raise ToolError(f"open_return: {again[0]} of {order_id} is already returned")
        since = order.delivered or self.state.today
        if Date.fromisoformat(since) + timedelta(days=RETURN_DAYS) < Date.fromisoformat(self.state.today):
            raise ToolError(f"open_return: {order_id} arrived on {since}, returns close after {RETURN_DAYS} days")
        key = self._new_id("R", "next_return", self.state.returns)
        self.state.returns[key] = Return(order_id=order_id, skus=skus)
        return {"return_id": key, "value": self._total(order, skus)}

    def refund_return(self, return_id: str, to: Literal["payment", "store_credit"] = "payment") -> dict[str, Any]:
        """Refund an opened return.

        Args:
            return_id: Return id.
            to: Where the money goes.
        """
        hint = "open_return gives ids such as R1234"
        taken: Return = known("refund_return", "return", self.state.returns, return_id, hint)
        if taken.refunded:
            raise ToolError(f"refund_return: {return_id} is already refunded to {taken.refunded}")
        taken.refunded = to
        return {"refunded": self._total(self.state.orders[taken.order_id], taken.skus), "to": to}

    def restock(self, sku: str, quantity: Annotated[int, Field(ge=1, le=500)]) -> dict[str, Any]:
        """Add pieces to a variant's stock.

        Args:
            sku: Variant.
            quantity: Pieces to add.
        """
        item = self._variant("restock", sku)
        item.stock += quantity
        return {"sku": sku, "stock": item.stock}

    def _order(self, tool: str, order_id: str, needed: Status | None = None) -> Order:
        """The order, in the status that the tool needs."""
        found: Order = known(tool, "order", self.state.orders, order_id, "find_orders gives ids such as O1234")
        if needed not in (None, found.status):
            raise ToolError(f"{tool}: {order_id} is {found.status}, must be {needed}")
        return found

    def _variant(self, tool: str, sku: str) -> Variant:
        return known(tool, "sku", self.state.variants, sku, "find_product gives skus such as K1234")

    def _total(self, order: Order, skus: Sequence[str] | None = None) -> int:
        """What the order costs, or the part of it that `skus` names, less its discount."""
        variants = self.state.variants
        prices = [variants[line.sku].price * line.quantity for line in order.lines if skus is None or line.sku in skus]
        percent = self.state.coupons[order.coupon].percent if order.coupon else 0
        return sum(prices) * (100 - percent) // 100


def _check_address(tool: str, address: Address) -> None:
    filled(tool, "address.street", address.street)
    filled(tool, "address.city", address.city)
