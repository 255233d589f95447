# Sourced by what judges the whole from outside (contract, client), within with-servers, which sets DATABASE_URL and AMQP_URL:
# gateway-mock, worker and api on free ports over new tables, until the script ends. Wants OUT, a folder for their logs; gives
# `base`, the api's address.

BIN=${CARGO_TARGET_DIR:-target}/debug
mkdir -p "$OUT"
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$work"' EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
json() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# What is answered with a 2xx, to whoever has the token `TOKEN`, where there is one. ask PATH [JSON]
ask() {
    python3 -c 'import os, sys; from urllib.request import Request, urlopen
body = sys.argv[2].encode() if sys.argv[2:] else None
headers = {"Content-Type": "application/json"}
if os.environ.get("TOKEN"): headers["Authorization"] = "Bearer " + os.environ["TOKEN"]
print(urlopen(Request(sys.argv[1], body, headers)).read().decode())' "$base$1" "${@:2}"
}

# All of it is on this machine, whatever proxy leads to others.
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
export API_ADDR=127.0.0.1:$(free_port) GATEWAY_MOCK_ADDR=127.0.0.1:$(free_port) METRICS_ADDR=off LOG_LEVEL=warn
export GATEWAY_URL=http://$GATEWAY_MOCK_ADDR IDENTITY_KEY_FILE=$work/keys
# They ask by the thousand from one address, as one customer.
export RATE_LIMIT_CUSTOMER=0 RATE_LIMIT_ADDRESS=0 RATE_LIMIT_LOG_IN=0 ACCESS_TOKEN_SECONDS=86400
# The gateway's declines are no part of what they judge.
export PAYMENT_MOCK_SUCCESS_RATE=${PAYMENT_MOCK_SUCCESS_RATE:-1}

"$BIN/api" keys make "$IDENTITY_KEY_FILE" >/dev/null
"$BIN/api" migrate >/dev/null
# One of the programs, until the script ends. start PROGRAM
start() {
    "$BIN/$1" >"$OUT/$1.log" 2>&1 &
    pids+=($!)
}
for program in gateway-mock worker api; do start "$program"; done
base=http://$API_ADDR
for _ in $(seq 150); do ask /ready >/dev/null 2>&1 && break; sleep 0.2; done
ask /openapi.json >"$OUT/openapi.json"

# An access token of a new customer.
token_of_customer() {
    local customer='{"email":"customer@example.com","password":"copper lantern seventy walrus"}'
    ask /api/v1/auth/register "$customer" >/dev/null
    ask /api/v1/auth/login "$customer" | json access_token
}

# The token of a machine that may what this role may. token_of ROLE
token_of() { "$BIN/api" token "judge-$1" --role "$1" | tail -n 1; }

# Fails for a fault of ours that no answer showed.
logs_are_clean() { ! cat "$OUT"/{api,worker,follower}.log 2>/dev/null | grep "ERROR\|panicked"; }
