// An order's life as programs of others hear of it: webhooks that svix and standardwebhooks verify, and a stream that eventsource
// follows, which finds its way back by itself when its connection breaks. Each must have every change once, in order.
//
//   listener.mjs ADDRESS CUSTOMER'S_TOKEN MANAGER'S_TOKEN
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { connect, createServer as createTunnel } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const installed = createRequire(pathToFileURL(`${process.env.LISTENERS}/`));
const { Webhook: Svix } = installed('svix');
const { Webhook: Standard } = installed('standardwebhooks');
const { EventSource } = await import(pathToFileURL(installed.resolve('eventsource')));

const [address, customer, manager] = process.argv.slice(2);

async function ask(token, method, path, body) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(`${address}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

async function until(what, look) {
  const deadline = Date.now() + 30_000;
  while (!look()) {
    assert(Date.now() < deadline, `waited in vain until ${what}`);
    await pause(50);
  }
}

const listens = (server) => new Promise((ready) => server.listen(0, '127.0.0.1', () => ready(server.address().port)));

// Somebody who is told.
const came = [];
const receiver = createServer(async (request, response) => {
  let body = '';
  for await (const part of request) body += part;
  came.push({ headers: request.headers, body });
  response.writeHead(204).end();
});
const hook = await ask(manager, 'POST', '/webhooks', { url: `http://127.0.0.1:${await listens(receiver)}/in`, payload: 'full' });

const me = await ask(customer, 'GET', '/auth/me');
const item = { item_id: 'item_001', item_name: 'Burger', quantity: 2, price: 12.99 };
const { id: order } = await ask(customer, 'POST', '/orders', { customer_id: me.id, items: [item] });

// A stream, through a tunnel that breaks once in the middle of it.
const { hostname, port } = new URL(address);
const open = new Set();
const tunnel = createTunnel((from) => {
  const to = connect(Number(port), hostname);
  for (const [one, other] of [[from, to], [to, from]]) {
    open.add(one);
    one.pipe(other);
    one.on('error', () => other.destroy()).on('close', () => { open.delete(one); other.destroy(); });
  }
});
const source = new EventSource(`http://127.0.0.1:${await listens(tunnel)}/api/v1/orders/${order}/events`, {
  fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${customer}` } }),
});
const streamed = [];
let opened = 0;
source.addEventListener('open', () => (opened += 1));
for (const what of ['accepted', 'moved']) {
  source.addEventListener(what, (event) => {
    const told = JSON.parse(event.data);
    assert.equal(event.lastEventId, String(told.version));
    streamed.push([told.version, told.to]);
  });
}
await until('the order is paid', () => streamed.length >= 3);
for (const one of open) one.destroy();
await ask(manager, 'POST', `/orders/${order}/accept`, {});
await until('the stream is back', () => streamed.length >= 4);
assert(opened >= 2, 'it was to break');
source.close();
tunnel.close();
assert.deepEqual(streamed, [[1, 'PENDING'], [2, 'PAYMENT_PROCESSING'], [3, 'CONFIRMED'], [4, 'ACCEPTED']]);

await until('the webhook has all', () => came.length >= 4);
const versions = came.map(({ headers, body }) => {
  for (const Verifier of [Svix, Standard]) {
    const verifier = new Verifier(hook.secret);
    verifier.verify(body, headers);
    assert.throws(() => verifier.verify(body.replace('order.', 'Order.'), headers), 'what was changed is not taken');
  }
  const { id, data } = JSON.parse(body);
  assert.equal(id, headers['webhook-id']);
  assert.deepEqual([data.order.total, data.order.currency, data.handover.customer_id], [25.98, 'USD', me.id]);
  return [data.version, data.order.status];
});
assert.deepEqual(versions, streamed, 'with each event the order as it was then');
await ask(manager, 'DELETE', `/webhooks/${hook.id}`);
console.log(`told: of order ${order} svix and standardwebhooks (npm) verified four changes, and eventsource followed them through a break`);
process.exit(0);
