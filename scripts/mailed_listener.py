"""A customer's mails, as somebody else's mail server has them: one that refuses, delays, and breaks off after it took a mail. Each mail must
come, in order, under an id of its own; twice only where the server broke off; and never again once it was refused.

mailed_listener.py ADDRESS MANAGER'S_TOKEN; its port is SMTP_PORT"""

import email
import email.policy
import os
import sys
import time

import httpx
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

address, manager = sys.argv[1:]
EMAIL = "mailed@example.com"
came = []
refused, delayed, broken = [], [], []


class Connection(SMTP):
    """One that can break off before it answers to what it has taken."""

    breaks_off = False

    async def push(self, status):
        if self.breaks_off:
            self.transport.abort()
        else:
            await super().push(status)


class Listener(Controller):
    def factory(self):
        return Connection(self.handler)


class Handler:
    async def handle_DATA(self, server, session, envelope):
        if envelope.rcpt_tos != [EMAIL]:
            return "250 somebody else's"
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        subject = mail["Message-ID"].strip("<>").split(".")[0]
        turn = turns.setdefault(subject, len(turns)) % 4
        seen = sum(one["Message-ID"] == mail["Message-ID"] for one in refused + delayed + broken)
        if turn == 1 and not seen:
            delayed.append(mail)
            return "451 4.3.2 later"
        if turn == 2 and ".created" in mail["Message-ID"]:
            refused.append(mail)
            return "550 5.7.1 not that one"
        if turn == 3 and not seen:
            broken.append(mail)
            server.breaks_off = True
        came.append((envelope.rcpt_tos, mail))
        return "250 taken"


turns = {}


def client_of(token):
    return httpx.Client(base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False)


def until(what, look):
    deadline = time.monotonic() + 60
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited in vain until {what}: {[one['Message-ID'] for _, one in came]}"
        time.sleep(0.05)
    return seen


server = Listener(Handler(), hostname="127.0.0.1", port=int(os.environ["SMTP_PORT"]))
server.start()
who = {"email": EMAIL, "password": "copper lantern seventy walrus"}
auth = httpx.Client(base_url=f"{address}/api/v1/auth", trust_env=False)
auth.post("/register", json=who).raise_for_status()
asks, commands = client_of(auth.post("/login", json=who).raise_for_status().json()["access_token"]), client_of(manager)
until("the machine is known", lambda: commands.get("/auth/me").status_code == 200)
me = asks.get("/users/me").raise_for_status().json()
asks.patch("/users/me", json={"name": "Åda \"<Byron>\""}).raise_for_status()
item = {"item_id": "item_001", "item_name": "Crème <brûlée>", "quantity": 2, "price": 12.99}


def order():
    placed = asks.post("/orders", json={"customer_id": me["id"], "items": [item]})
    return placed.raise_for_status().json()["id"]


def of(one):
    return [mail for _, mail in came if mail["Message-ID"].startswith(f"<{one}.")]


# The first of each is on its way before there is another order: so each has its turn.
orders = []
for turn in range(4):
    orders.append(order())
    until("its first mail was tried", lambda: len(turns) == turn + 1)
well, put_off, turned_away, cut = orders
expected = {well: ["1.created", "3.confirmed"], put_off: ["1.created", "3.confirmed"], turned_away: ["3.confirmed"], cut: ["1.created", "1.created", "3.confirmed", "3.confirmed"]}
for one, names in expected.items():
    ids = [f"<{one}.{name}@house.example>" for name in names]
    until(f"{one} has its mails", lambda: len(of(one)) >= len(ids))
time.sleep(1)
for one, names in expected.items():
    assert [mail["Message-ID"] for mail in of(one)] == [f"<{one}.{name}@house.example>" for name in names], (one, of(one))
assert len(refused) == 1, "what is refused is not sent again by itself"

for recipients, mail in came:
    assert recipients == [me["email"]] == [one.addr_spec for one in mail["To"].addresses], mail["To"]
    assert mail["To"].addresses[0].display_name == "Åda \"<Byron>\"", mail["To"]
    assert not mail.defects and mail.get_content_type() == "multipart/alternative", mail.defects
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "2 x Crème <brûlée>: 25.98 USD" in text and "Total: 25.98 USD" in text and "Location: Main" in text, text
    assert "Crème &#60;brûlée&#62;" in html and "25.98 USD" in html, html
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"

# One click, as a mail program does it.
link = came[-1][1]["List-Unsubscribe"].strip("<>")
form = httpx.post(link, data={"List-Unsubscribe": "One-Click"}, trust_env=False)
assert form.status_code == 200, form.text
assert asks.get("/users/me/mails").raise_for_status().json()["mails"] == []
before = len(came)
last = order()
until("it is paid", lambda: asks.get(f"/orders/{last}").json()["status"] == "CONFIRMED")
time.sleep(1)
assert len(came) == before, "nothing more is sent"
server.stop()
print(f"mailed: {len(came)} mails of {len(orders)} orders, in order, each under its id, through refusals, delays and a lost answer")
