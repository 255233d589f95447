# Sourced by the install-* scripts: one way to install with whatever package manager is here,
# never asking a question, and never leaving a system service started that nobody asked for.

say() { echo "comanda: $*" >&2; }
fail() { say "$*"; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif ! command -v sudo >/dev/null; then
        return 1
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@" # nobody is there to type a password
    fi
}

package_manager() {
    local name
    for name in apt-get dnf pacman apk brew; do
        if command -v "$name" >/dev/null; then
            echo "$name"
            return
        fi
    done
}

# Ends here, with the command to type, where nothing can be installed.
must_be_able_to_install() {
    case $(package_manager) in
    brew) ;; # refuses root
    "") fail "no package manager known here: install $1 by hand and start again" ;;
    *) as_root true 2>/dev/null || fail "$1 is missing and only root can install it: $(by_hand "$1")" ;;
    esac
}

by_hand() {
    case $(package_manager) in
    pacman) echo "pacman -S $*" ;;
    apk) echo "apk add $*" ;;
    *) echo "$(package_manager) install $*" ;;
    esac
}

# Installs the packages named. What the package manager prints is shown only if it fails.
install_packages() {
    local log
    log=$(mktemp)
    say "installing $*"
    if ! try_install "$@" >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "could not install $*: do it by hand and start again: $(by_hand "$@")"
    fi
    rm -f "$log"
}

try_install() {
    case $(package_manager) in
    # The lists may be missing or stale (a fresh container): only then are they fetched.
    apt-get) apt_install "$@" || { as_root apt-get update && apt_install "$@"; } ;;
    dnf) as_root dnf install -y "$@" ;;
    pacman) as_root pacman -S --noconfirm --needed "$@" ;;
    apk) as_root apk add "$@" ;;
    brew) brew install "$@" ;;
    esac
}

# Waits up to five minutes for another apt run (a fresh machine updates itself at first start).
apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# Debian starts a service as soon as its package is installed, unless policy-rc.d says no. Ours says no only while
# this very script lives, so that even a kill -9 of it leaves nothing in force; one that is there already is left alone.
POLICY=/usr/sbin/policy-rc.d

without_starting_services() {
    if [ "$(package_manager)" != apt-get ]; then
        "$@"
        return
    fi
    if [ -e "$POLICY" ] && ! grep -q '^# comanda$' "$POLICY"; then
        "$@"
        return
    fi
    trap 'as_root rm -f "$POLICY"' EXIT
    trap 'exit 130' INT TERM HUP
    as_root sh -c "printf '%s\n' '#!/bin/sh' '# comanda' 'kill -0 $$ 2>/dev/null && exit 101' 'exit 0' >$POLICY &&
        chmod 755 $POLICY"
    "$@"
    as_root rm -f "$POLICY"
    trap - EXIT INT TERM HUP
}

# Installs a package of PyPI into an environment of its own below target/tools: one download with the checksum that pip
# knows, no root. What pip prints is shown only if it fails. from_pypi PACKAGE VERSION DIRECTORY PAGE [ANOTHER==VERSION..]
from_pypi() {
    local log packages
    # Debian's Python comes without the part that makes environments with pip in them.
    if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        case $(package_manager) in
        apt-get) packages=(python3-venv) ;;
        dnf) packages=(python3 python3-pip) ;;
        apk) packages=(python3 py3-pip) ;;
        *) packages=(python) ;;
        esac
        must_be_able_to_install "${packages[*]}"
        install_packages "${packages[@]}" >&2
    fi
    say "installing $1 $2 below target/tools"
    log=$(mktemp)
    # --clear: what an interrupted try left is no environment.
    if ! { python3 -m venv --clear "$3" && "$3/bin/pip" install --quiet --disable-pip-version-check "$1==$2" "${@:5}"; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "could not install $1: do it by hand and start again: $4"
    fi
    rm -f "$log"
}
