"""An order's life as others hear of it: a webhook whose signatures somebody else's library verifies, events that somebody else's
library reads, a stream that somebody else's client follows and resumes. Each must have every change once, in order.

told_listener.py ADDRESS CUSTOMER'S_TOKEN MANAGER'S_TOKEN SERVICE'S_TOKEN"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import httpx_sse
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import Webhook

address, customer, manager, service = sys.argv[1:]
came = []


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        came.append((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()


def client_of(token):
    return httpx.Client(base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False)


def until(what, look):
    deadline = time.monotonic() + 30
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)
    return seen


asks, commands, follows = client_of(customer), client_of(manager), client_of(service)
# An api knows a new machine within seconds.
for machine in (commands, follows):
    until("the machine is known", lambda: machine.get("/auth/me").status_code == 200)
hook = commands.post("/webhooks", json={"url": f"http://127.0.0.1:{receiver.server_port}/in"}).raise_for_status().json()
first_secret = hook["secret"]

me = asks.get("/auth/me").raise_for_status().json()
item = {"item_id": "item_001", "item_name": "Burger", "quantity": 2, "price": 12.99}
order = asks.post("/orders", json={"customer_id": me["id"], "items": [item]}).raise_for_status().json()["id"]

# A stream, left in the middle and resumed.
streamed = []
for take, last in ((2, None), (1, "2")):
    headers = {"Last-Event-ID": last} if last else {}
    with httpx_sse.connect_sse(asks, "GET", f"/orders/{order}/events", headers=headers) as source:
        for event in source.iter_sse():
            told = json.loads(event.data)
            assert event.event == told["what"] and event.id == str(told["version"]), event
            streamed.append((told["version"], told["to"]))
            take -= 1
            if take == 0:
                break
assert streamed == [(1, "PENDING"), (2, "PAYMENT_PROCESSING"), (3, "CONFIRMED")], streamed

# From now on two secrets sign.
second_secret = commands.post(f"/webhooks/{hook['id']}/secrets").raise_for_status().json()["secret"]
time.sleep(1.5)
commands.post(f"/orders/{order}/accept").raise_for_status()
until("the kitchen's move has been sent", lambda: len(came) >= 4)

versions = []
for headers, body in came:
    verified = Webhook(first_secret).verify(body, headers)
    event = JSONFormat().read(None, body)
    assert event.get_id() == verified["id"] == {k.lower(): v for k, v in headers.items()}["webhook-id"], headers
    assert event.get_subject() == order and event.get_source() == "/api/v1/orders", event
    versions.append((event.get_data()["version"], event.get_type()))
Webhook(second_secret).verify(came[-1][1], came[-1][0])
expected = [
    (1, "order.accepted"),
    (2, "order.moved.PAYMENT_PROCESSING"),
    (3, "order.moved.CONFIRMED"),
    (4, "order.moved.ACCEPTED"),
]
assert versions == expected, versions

batch = follows.get("/events", params={"after": "earliest", "wait": 5}).raise_for_status()
assert batch.headers["content-type"] == "application/cloudevents-batch+json", batch.headers
read = [JSONFormat().read(None, json.dumps(one)) for one in batch.json()]
assert [(one.get_data()["version"], one.get_type()) for one in read] == expected, read
print(f"told: of order {order} a webhook, a stream and a batch had the same four changes, in order, with true signatures")
