// soak: the owner's rate for an hour (DURATION). What leaks or grows shows in the second half.

import { options as load } from './load.js';

export { default, setup, teardown } from './load.js';

export const options = {
    ...load,
    scenarios: { orders: { ...load.scenarios.orders, duration: __ENV.DURATION || '1h' } },
};
