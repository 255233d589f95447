// stress: ever more orders until something is full. What is too much may be refused with 503, or wait its turn here
// (k6 itself takes two thirds of the processors); nothing that was accepted may be lost, and all of it ends.

import { common } from './k6/settings.js';
import { order } from './k6/order.js';
import { KEPT, begin, verify } from './k6/promise.js';

export const options = {
    ...common,
    scenarios: {
        orders: {
            executor: 'ramping-arrival-rate', startRate: 100, timeUnit: '1s', preAllocatedVUs: 300,
            stages: [{ target: 4000, duration: '40s' }],
        },
    },
    thresholds: {
        ...KEPT,
        orders_failed: ['count==0'],
        accept_ms: ['med<1000'],
    },
};

export const setup = () => begin('stress');
export default order;
export const teardown = (run) => verify(run, 300);
