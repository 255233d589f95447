// unsteady-gateway: the table of a public payment benchmark. Two minutes of ramp to 600 payments a second, while the
// gateway goes through ten states of 12 s each. Nothing may be lost, charged twice or told wrongly; how long the
// rest takes to drain is measured with the gateway as the last state left it.

import { sleep } from 'k6';
import { common } from './k6/settings.js';
import { order, phase } from './k6/order.js';
import { NO_DECLINES, setFaults } from './k6/gateway.js';
import { KEPT, begin, verify } from './k6/promise.js';

// Milliseconds a charge, and whether every one of them is answered with 500.
const STATES = [
    [0], [1000], [500], [2000, 'failing'], [5000, 'failing'], [0], [100], [50], [103], [2000],
];
const SECONDS_EACH = 12;

export const options = {
    ...common,
    scenarios: {
        orders: {
            executor: 'ramping-arrival-rate', startRate: 0, timeUnit: '1s', preAllocatedVUs: 400,
            stages: [{ target: 600, duration: `${STATES.length * SECONDS_EACH}s` }],
        },
        gateway: { executor: 'per-vu-iterations', vus: 1, iterations: 1, maxDuration: '3m', exec: 'gateway' },
    },
    thresholds: {
        ...KEPT,
        orders_failed: ['count==0'],
        orders_refused: ['count==0'],
        accept_ms: ['p(99)<1000'],
    },
};

const state = ([millis, failing]) => ({ latency_min_ms: millis, latency_max_ms: millis, error_rate: failing ? 1 : 0 });

export const setup = () => begin('unsteady-gateway', { ...NO_DECLINES, ...state(STATES[0]) });
export default order;
export const teardown = (run) => verify(run, 600);

export function gateway() {
    for (const each of STATES) {
        setFaults(state(each));
        phase(`${each[0]}${each[1] ? ' failing' : ''}`);
        sleep(SECONDS_EACH);
    }
}
