"""The README's journey, by a client that nobody here wrote: place an order, read it until it is CONFIRMED, read all that happened
to it; then the kitchen takes it. Each answer goes through the client's own types, which refuse what openapi.json does not say.

client_journey.py ADDRESS CUSTOMER'S_TOKEN STAFF'S_TOKEN"""

import sys
import time
import uuid

import comanda_client as comanda
from comanda_client.exceptions import ApiException

address, customer, staff = sys.argv[1:]


def client_of(token):
    return comanda.ApiClient(comanda.Configuration(host=address, access_token=token))


orders = comanda.OrdersApi(client_of(customer))
me = comanda.PeopleApi(client_of(customer)).who_am_i()
assert me.role == comanda.Role.CUSTOMER, me

order = comanda.NewOrderBody(
    customer_id=me.id,
    items=[
        comanda.LineBody(comanda.ItemLineBody(item_id="item_001", item_name="Burger", quantity=2, price=12.99)),
        comanda.LineBody(comanda.ItemLineBody(item_id="item_002", item_name="Fries", quantity=1, price=4.99)),
    ],
)
key = str(uuid.uuid4())
placed = orders.accept_order(order, idempotency_key=key)
assert (placed.status, placed.total, placed.version) == (comanda.OrderStatus.PENDING, 30.97, 1), placed
assert orders.accept_order(order, idempotency_key=key).id == placed.id, "the same request under its key is the same order"

deadline = time.monotonic() + 60
while (read := orders.read_order(str(placed.id))).status != comanda.OrderStatus.CONFIRMED:
    assert time.monotonic() < deadline, read
    time.sleep(0.05)
assert read.payment_attempts[-1].outcome == "succeeded", read.payment_attempts

history = orders.read_history(str(placed.id)).history
assert history[0].what == comanda.What.ACCEPTED and history[-1].to == comanda.OrderStatus.CONFIRMED, history

# A customer is no kitchen, and is told so in the form that every error has.
try:
    comanda.KitchenApi(client_of(customer)).accept(str(placed.id))
    sys.exit("a customer took an order")
except ApiException as refused:
    problem = comanda.ProblemBody.from_json(refused.body)
    assert (refused.status, problem.type) == (403, "/problems/forbidden"), problem

taken = comanda.KitchenApi(client_of(staff)).accept(str(placed.id))
assert taken.status == comanda.OrderStatus.ACCEPTED, taken
taken_by = orders.read_history(str(placed.id)).history[-1].actor
assert taken_by.endswith("judge-staff"), f"it is known who took it: {taken_by}"

mine = orders.list_own_orders(page_size=1)
assert [one.id for one in mine.orders] == [placed.id] and mine.total == 1, mine
print(f"client: order {placed.id} was placed, charged, read, taken by the kitchen and listed")
