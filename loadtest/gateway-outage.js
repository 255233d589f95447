// gateway-outage: the payment gateway is gone for 20 s while orders arrive. They are accepted as fast as ever, none
// fails for it, and all are confirmed when it is back: at the latest when the breaker looks again, a minute after
// it opened (CIRCUIT_BREAKER_RECOVERY_SECONDS).

import { check, sleep } from 'k6';
import { common } from './k6/settings.js';
import { order, phase } from './k6/order.js';
import { NO_DECLINES, setFaults, summary } from './k6/gateway.js';
import { KEPT, begin, verify } from './k6/promise.js';

export const options = {
    ...common,
    scenarios: {
        orders: { executor: 'constant-arrival-rate', rate: 50, timeUnit: '1s', duration: '45s', preAllocatedVUs: 50 },
        outage: { executor: 'per-vu-iterations', vus: 1, iterations: 1, startTime: '10s', exec: 'outage' },
    },
    thresholds: {
        ...KEPT,
        checks: ['rate==1'], // the outage was one
        accept_ms: ['med<50', 'p(99)<1000'], // the median feels no neighbours on the machine
        orders_failed: ['count==0'],
        orders_refused: ['count==0'],
        orders_payment_failed: ['count==0'],
    },
};

export const setup = () => begin('gateway-outage', NO_DECLINES);
export default order;
export function teardown(run) {
    setFaults({ down: false }); // where the run was broken off in the middle
    verify(run, 300);
}

export function outage() {
    setFaults({ down: true });
    phase('gateway down');
    sleep(1); // for what was at the gateway already
    const before = summary().charges;
    sleep(19);
    const after = summary().charges;
    setFaults({ down: false });
    phase('gateway back');
    check(after, { 'nothing was charged while it was down': (after) => after === before });
}
