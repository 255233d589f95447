"""A consumer of the exchange: what the kitchen and the till hear of orders, each change once and in order.

    pip install pika
    python kitchen_events.py amqp://localhost comanda.events

Messages come at least once, an order's changes in their order. Whoever remembers the last version of each order, together with what it
led to, knows what comes again. Here that is a dictionary; yours will stand in a table, written in the transaction of the effect."""

import json
import sys

import pika

url, exchange = sys.argv[1:]
channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
# As the follower does, whoever comes first. A quorum queue keeps what comes while nobody reads, through the loss of a broker.
channel.exchange_declare(exchange, "topic", durable=True)
channel.queue_declare("kitchen", durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind("kitchen", exchange, "order.moved.#")
channel.basic_qos(prefetch_count=100)
print("listening", flush=True)

seen = {}
for method, properties, body in channel.consume("kitchen"):
    event = json.loads(body)["data"]
    if event["version"] > seen.get(event["order_id"], 0):
        seen[event["order_id"]] = event["version"]
        print(properties.message_id, event["order_id"], event["version"], event["to"], flush=True)
    # After the effect: whoever dies before has it again.
    channel.basic_ack(method.delivery_tag)
