# Sourced by bin/up, bin/test and bin/lock: makes .venv and keeps its packages as the requirements files say.

fail() { echo "bin/$(basename "$0"): $*" >&2; exit 1; }

[ -n "${HOME:-}" ] || unset HOME   # an empty HOME would mean /
unset PYTHONDONTWRITEBYTECODE      # else each of our many processes would compile everything again

# find_python: prints a Python of 3.11 or newer
find_python() {
    local candidate
    for candidate in python3.11 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 is needed, found $(python3 --version 2>&1 || true). On Debian: apt-get install python3.11-venv"
}

# install_packages STAMP FILE...: installs the files' packages unless the stamp says that these very files are installed
install_packages() {
    local stamp=.venv/$1 now
    shift
    exec 8<requirements.txt
    flock 8   # another bin/up or bin/test may be installing
    if ! .venv/bin/python -c '' 2>/dev/null; then
        local python
        python=$(find_python)
        "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python lacks venv. On Debian: apt-get install python3.11-venv"
        "$python" -m venv --clear .venv || fail "$PWD/.venv could not be made."
    fi
    now=$(sha256sum "$@")
    if [ "$now" != "$(cat "$stamp" 2>/dev/null)" ]; then
        local files=() file
        for file in "$@"; do files+=(-r "$file"); done
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
            "${files[@]}" >.venv/pip.log 2>&1 || explain_pip
        echo "$now" >"$stamp"
    fi
    exec 8>&-
}

explain_pip() {
    if grep -qi 'no space left' .venv/pip.log; then
        fail "The disk is full: the packages need about 1 GB."
    elif grep -qiE 'name resolution|name or service not known|network is unreachable|connection (refused|reset)|timed out|max retries' .venv/pip.log; then
        fail "No network: the package registry cannot be reached. Details: $PWD/.venv/pip.log"
    fi
    tail -n 15 .venv/pip.log >&2
    fail "The packages could not be installed. Details: $PWD/.venv/pip.log"
}
