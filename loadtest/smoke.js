// smoke: does it work at all? A few orders a second, each followed to its end; wrong input and repeated keys in
// between. Ten seconds.

import http from 'k6/http';
import { check, sleep } from 'k6';
import { API, TOKEN, common } from './k6/settings.js';
import { body, order } from './k6/order.js';
import { KEPT, begin, verify } from './k6/promise.js';

export const options = {
    ...common,
    scenarios: {
        orders: { executor: 'constant-arrival-rate', rate: 5, timeUnit: '1s', duration: '8s', preAllocatedVUs: 20, exec: 'follow' },
        manners: { executor: 'per-vu-iterations', vus: 1, iterations: 10, exec: 'manners' },
    },
    thresholds: {
        ...KEPT,
        checks: ['rate==1'],
        orders_failed: ['count==0'],
        orders_refused: ['count==0'],
        dropped_iterations: ['count==0'],
        accept_ms: ['p(99)<1000'],
    },
};

export const setup = () => begin('smoke');
export const teardown = (run) => verify(run, 60);

// accept, and read until it has ended.
export function follow(run) {
    const location = order(run);
    if (!check(location, { 'accepted with its address': (location) => location !== undefined })) return;
    let status;
    for (let look = 0; look < 100; look++) {
        status = http.get(`${API}${location}`, { responseType: 'text', headers: TOKEN }).json('status');
        if (status === 'CONFIRMED' || status === 'PAYMENT_FAILED') break;
        sleep(0.1);
    }
    check(status, { 'ended within 10 s': (status) => status === 'CONFIRMED' || status === 'PAYMENT_FAILED' });
}

// What clients send by mistake, and what careful ones repeat.
export function manners(run) {
    const post = (text, headers = {}) => http.post(`${API}/api/v1/orders`, text, {
        headers: { 'Content-Type': 'application/json', ...TOKEN, ...headers },
        responseType: 'text',
        responseCallback: http.expectedStatuses(202, 400, 422),
    });
    check(post('{'), { 'no JSON: 400': (answer) => answer.status === 400 });
    check(post('{"customer_id":"a","items":[]}'), { 'no items: 422': (answer) => answer.status === 422 });
    const nowhere = http.get(`${API}/api/v1/orders/nothing`, { headers: TOKEN, responseCallback: http.expectedStatuses(404) });
    check(nowhere, { 'no such order: 404': (answer) => answer.status === 404 });
    // Of another customer, so that the promise counts only what `order` sent.
    const key = { 'Idempotency-Key': `${run.customer}-${__ITER}` };
    const [first, again] = [0, 1].map(() => post(body(`${run.customer}-twice`, __ITER), key));
    check(again, { 'a key sent again: the same order': (answer) => answer.status === 202 && answer.json('id') === first.json('id') });
    sleep(0.5);
}
