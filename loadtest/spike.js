// spike: a quiet minute's trickle, then a hundred times the owner's rate from one moment to the next, then the trickle
// again. Those who come after it must not feel it.

import exec from 'k6/execution';
import { common } from './k6/settings.js';
import { order, phase } from './k6/order.js';
import { KEPT, begin, verify } from './k6/promise.js';

const part = (rate, seconds, from, vus) => ({
    executor: 'constant-arrival-rate', rate, timeUnit: '1s', duration: `${seconds}s`, startTime: `${from}s`, preAllocatedVUs: vus,
});

export const options = {
    ...common,
    scenarios: { before: part(10, 10, 0, 10), spike: part(800, 10, 10, 400), after: part(10, 20, 20, 20) },
    thresholds: {
        ...KEPT,
        'accept_ms{scenario:before}': ['med<50', 'p(99)<1000'],
        'accept_ms{scenario:spike}': ['p(99)<1000'],
        'accept_ms{scenario:after}': ['med<50', 'p(99)<1000'],
        orders_failed: ['count==0'],
        orders_refused: ['count==0'],
    },
};

export const setup = () => begin('spike');
export const teardown = (run) => verify(run, 120);

export default function (run) {
    if (exec.scenario.iterationInTest === 0) phase(exec.scenario.name);
    order(run);
}
