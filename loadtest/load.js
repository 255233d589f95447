// load: what the owner asked for, 500 orders a minute for ten minutes (DURATION). Accepted at once, nothing left over.

import { common } from './k6/settings.js';
import { order } from './k6/order.js';
import { KEPT, begin, verify } from './k6/promise.js';

export const options = {
    ...common,
    scenarios: {
        orders: { executor: 'constant-arrival-rate', rate: 500, timeUnit: '1m', duration: __ENV.DURATION || '10m', preAllocatedVUs: 50 },
    },
    thresholds: {
        ...KEPT,
        accept_ms: ['p(99)<50'],
        orders_failed: ['count==0'],
        orders_refused: ['count==0'],
        dropped_iterations: ['count==0'],
        drain_seconds: ['value<10'],
    },
};

export const setup = () => begin('load');
export default order;
export const teardown = (run) => verify(run, 60);
