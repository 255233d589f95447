// accept, as a client sees it: an order is sent, and what came of it is counted for the thresholds and written down
// in a line for the report.

import http from 'k6/http';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import { API, TOKEN } from './settings.js';

export const accepted = new Counter('orders_accepted'); // 202
const refused = new Counter('orders_refused'); // 503, come again: the honest answer to too much
const failed = new Counter('orders_failed'); // anything else, or no answer
const acceptMs = new Trend('accept_ms', true);

const expected = http.expectedStatuses(202, 503);

// Sums differ from order to order, so that a charge for the wrong one is seen.
export function body(customer, number) {
    return JSON.stringify({
        customer_id: customer,
        items: [
            { item_id: 'item_001', item_name: 'Burger', quantity: 1 + (number % 9), price: 12.99 },
            { item_id: 'item_002', item_name: 'Fries', quantity: 1 + (number % 4), price: 4.99 },
        ],
    });
}

// Sends one; the answer's Location where it was accepted.
export function order(run) {
    const begun = Date.now();
    const answer = http.post(`${API}/api/v1/orders`, body(run.customer, exec.scenario.iterationInTest), {
        headers: { 'Content-Type': 'application/json', ...TOKEN },
        timeout: '10s',
        responseCallback: expected,
    });
    const took = answer.timings.duration;
    acceptMs.add(took);
    accepted.add(answer.status === 202 ? 1 : 0);
    refused.add(answer.status === 503 ? 1 : 0);
    failed.add(answer.status === 202 || answer.status === 503 ? 0 : 1);
    const location = answer.status === 202 ? answer.headers.Location : undefined;
    console.log(`order ${begun} ${took.toFixed(3)} ${answer.status} ${location ? location.split('/').pop() : '-'}`);
    return location;
}

// What happens from here on, for the report's plots.
export function phase(label) {
    console.log(`phase ${Date.now()} ${label}`);
}
