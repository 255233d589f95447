// broker-outage: RabbitMQ is killed under the load and comes back. Orders are accepted as fast as ever, and are confirmed
// meanwhile, a few seconds later than usual, by the sweep.
//
// k6 cannot kill it: `loadtest k6` starts a RabbitMQ (and all else) of its own for this script and kills that. By hand:
// `k6 run loadtest/broker-outage.js`, and meanwhile `docker compose kill rabbitmq`, `docker compose start rabbitmq`.

import http from 'k6/http';
import { check } from 'k6';
import { Counter } from 'k6/metrics';
import { API, common } from './k6/settings.js';
import { order, phase } from './k6/order.js';
import { NO_DECLINES } from './k6/gateway.js';
import { KEPT, begin, verify } from './k6/promise.js';

const seenDown = new Counter('broker_seen_down');

export const options = {
    ...common,
    scenarios: {
        orders: { executor: 'constant-arrival-rate', rate: 50, timeUnit: '1s', duration: '45s', preAllocatedVUs: 50 },
        watch: { executor: 'constant-arrival-rate', rate: 2, timeUnit: '1s', duration: '45s', preAllocatedVUs: 1, maxVUs: 1, exec: 'watch' },
    },
    thresholds: {
        ...KEPT,
        broker_seen_down: ['count>0'], // the outage was one
        checks: ['rate==1'], // and it is over
        accept_ms: ['med<50', 'p(99)<1000'], // the median feels no neighbours on the machine
        orders_failed: ['count==0'],
        orders_refused: ['count==0'],
        orders_payment_failed: ['count==0'],
        drain_seconds: ['value<30'],
    },
};

const broker = () => http.get(`${API}/ready`, { responseType: 'text' }).json('broker');

export function setup() {
    seenDown.add(0);
    return begin('broker-outage', NO_DECLINES);
}
export default order;
export function teardown(run) {
    verify(run, 120);
    check(broker(), { 'the broker is used again': (state) => state === 'up' });
}

let before = 'up';

export function watch() {
    const now = broker();
    if (now !== before) phase(now === 'down' ? 'broker away' : 'broker back');
    if (now === 'down') seenDown.add(1);
    before = now;
}
