// The payment gateway's switches and books.

import http from 'k6/http';
import { GATEWAY } from './settings.js';

// A believable day: 50 to 200 ms a charge, one card in twenty declined.
export const USUAL = {
    latency_min_ms: 50, latency_max_ms: 200, success_rate: 0.95, too_many_rate: 0, error_rate: 0, timeout_before_rate: 0,
    error_after_rate: 0, timeout_after_rate: 0, malformed_rate: 0, late_rate: 0, control_error_rate: 0, down: false,
    misconfigured_rate: 0, foreign_receipt_rate: 0, huge_rate: 0, pending_rate: 0, limit_per_second: 0,
};
// The same with cards that are always good: an order that fails then was failed by us.
export const NO_DECLINES = { ...USUAL, success_rate: 1 };

const text = { responseType: 'text', responseCallback: http.expectedStatuses(200) };

function ask(method, path, body) {
    const headers = { 'Content-Type': 'application/json' };
    const answer = http.request(method, `${GATEWAY}${path}`, body && JSON.stringify(body), { ...text, headers });
    if (answer.status !== 200) {
        throw new Error(`the gateway's ${path} answered ${answer.status} ${answer.body || answer.error}: is GATEWAY_URL right?`);
    }
    return answer.json();
}

// All switches as they are, or with these set anew.
export const faults = () => ask('GET', '/v1/faults');
export const setFaults = (patch) => ask('PUT', '/v1/faults', patch);

// The books in sums: cheap at any length.
export const summary = () => ask('GET', '/v1/ledger/summary');

// The books in full, charges from this row on.
export const ledger = (chargesFrom) => ask('GET', `/v1/ledger?charges_from=${chargesFrom}`);
