// The promise behind each 202: the order is there, it ends, and it was paid once if it is confirmed and not at all if it
// failed. Kept or not is asked of those who know, once the load is over: the api for the orders, the gateway's own books
// for the money. Answers to the load itself prove nothing.

import http from 'k6/http';
import { sleep } from 'k6';
import { Counter, Gauge } from 'k6/metrics';
import { API, K6, TOKEN } from './settings.js';
import { USUAL, faults, ledger, setFaults, summary } from './gateway.js';

const checked = new Counter('promises_checked');
const found = new Counter('orders_found');
const lost = new Counter('orders_lost'); // more 202s than orders
const open = new Counter('orders_open'); // without an end when patience was over
const double = new Counter('orders_double'); // charged more than once
const inconsistent = new Counter('orders_inconsistent'); // the books say another thing than the status
const confirmed = new Counter('orders_confirmed');
const paymentFailed = new Counter('orders_payment_failed');
const drain = new Gauge('drain_seconds');

// In every script's thresholds.
export const KEPT = {
    promises_checked: ['count==1'],
    orders_lost: ['count==0'],
    orders_open: ['count==0'],
    orders_double: ['count==0'],
    orders_inconsistent: ['count==0'],
};

const UNFINISHED = ['PENDING', 'PAYMENT_PROCESSING'];
const PAID = ['CONFIRMED', 'ACCEPTED', 'PREPARING', 'READY', 'DELIVERED'];
const UNPAID = ['PAYMENT_FAILED'];

// setup(): sets the gateway's switches; says who orders in this run, and where the books stand.
export function begin(name, switches = USUAL) {
    checked.add(0); // a metric without a sample would pass every threshold
    for (const counter of [lost, open, double, inconsistent]) counter.add(0);
    const before = faults();
    setFaults(switches);
    return { customer: `k6-${name}-${Date.now()}`, before, chargesBefore: summary().charges };
}

// teardown(): waits for the last order's end, compares all of them with the books, and puts the switches back.
export function verify(run, patienceSeconds = 300) {
    try {
        const begun = Date.now();
        open.add(untilEnded(run, patienceSeconds));
        drain.add((Date.now() - begun) / 1000);
        compare(run, countAccepted());
        checked.add(1);
    } finally {
        setFaults(run.before);
    }
}

function get(path) {
    const answer = http.get(`${API}/api/v1${path}`, { responseType: 'text', headers: TOKEN });
    if (answer.status !== 200) throw new Error(`${path} answered ${answer.status}`);
    return answer.json();
}

// Virtual users share nothing but metrics, and k6 tells those on its own address, a moment late.
function countAccepted() {
    for (let before = -1, again = 0; again < 60; again++) {
        const answer = http.get(`${K6}/v1/metrics/orders_accepted`, { responseType: 'text' });
        if (answer.status !== 200) throw new Error(`k6 does not say at ${K6} what it counted (K6_ADDRESS)`);
        const count = answer.json().data.attributes.sample.count;
        if (count === before) return count;
        before = count;
        sleep(1);
    }
    throw new Error('k6 has not finished counting');
}

function untilEnded(run, patienceSeconds) {
    const deadline = Date.now() + patienceSeconds * 1000;
    const filter = `customer_id=${run.customer}&status=${UNFINISHED.join(',')}`;
    for (;;) {
        let left = 0;
        eachOrder(filter, () => { left += 1; });
        if (left === 0 || Date.now() > deadline) return left;
        sleep(0.25);
    }
}

// Pages end where enough orders were looked at, whether or not one of them matched: the last is the one without a cursor.
function eachOrder(filter, look) {
    for (let cursor = ''; cursor !== null;) {
        const page = get(`/orders?${filter}&page_size=100${cursor && `&cursor=${cursor}`}`);
        page.orders.forEach(look);
        cursor = page.next_cursor || null;
    }
}

function compare(run, accepted) {
    const charges = new Map(); // order -> how often, and what
    for (const charge of ledger(run.chargesBefore).charges) {
        const known = charges.get(charge.reference);
        charges.set(charge.reference, { times: (known ? known.times : 0) + 1, amount: charge.amount });
    }
    const ids = new Set();
    eachOrder(`customer_id=${run.customer}`, (order) => {
        ids.add(order.id);
        judge(order, charges.get(order.id));
    });
    found.add(ids.size);
    // More orders than 202s are no breach: an answer can be lost on its way.
    lost.add(Math.max(0, accepted - ids.size));
}

function judge(order, charge) {
    const times = charge ? charge.times : 0;
    confirmed.add(PAID.includes(order.status) ? 1 : 0);
    paymentFailed.add(order.status === 'PAYMENT_FAILED' ? 1 : 0);
    if (times > 1) double.add(1);
    const wrong = (PAID.includes(order.status) && times === 0)
        || (UNPAID.includes(order.status) && times > 0)
        || (charge && charge.amount !== order.total);
    if (wrong) {
        inconsistent.add(1);
        console.warn(`wrong: order ${order.id} is ${order.status} over ${order.total}, and was charged ${times} times, ${charge && charge.amount}`);
    }
}
