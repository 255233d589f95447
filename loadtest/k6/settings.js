// Where everything is: as for the programs, from the environment; the defaults are those of `make run`.

export const API = `http://${__ENV.API_ADDR || '127.0.0.1:8080'}`;
export const GATEWAY = (__ENV.GATEWAY_URL || 'http://127.0.0.1:9090').replace(/\/$/, '');

// Who asks, where what runs wants to know.
export const TOKEN = __ENV.TOKEN ? { Authorization: `Bearer ${__ENV.TOKEN}` } : {};

// k6's own address, where it tells what it has counted. `loadtest k6` names a free one.
export const K6 = `http://${__ENV.K6_ADDRESS || 'localhost:6565'}`;

// What every script has in common.
export const common = {
    discardResponseBodies: true, // bodies are read where they are needed; the others cost memory
    setupTimeout: '60s',
    teardownTimeout: '15m', // to wait for the last order, and to read them all
    summaryTrendStats: ['count', 'med', 'p(95)', 'p(99)', 'p(99.9)', 'max'],
};
