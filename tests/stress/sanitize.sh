#!/usr/bin/env bash
# The compiled core under everything that watches memory; run it from anywhere. Without arguments all, else some of:
#
#   malloc    CPython's own checks of its allocator, and its development mode
#   asan      AddressSanitizer and UndefinedBehaviorSanitizer (gcc)
#   valgrind  memcheck; only records that name one of our modules count, since CPython itself gives some
#   debug     a debug build of CPython, with its assertions and its count of references (Debian: python3-dbg, python3-dev)
#
# Each builds a copy of what is committed, or would be, in a temporary folder, which is removed at the end. What is not
# installed is skipped, and said at the end; an exit status of 0 means that nothing that was run found anything.
set -uo pipefail
cd "$(dirname "$0")/../.."
source=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
wanted=${*:-malloc asan valgrind debug}
export PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
tests=(tests/test_core.py tests/test_scan.py tests/test_disk.py tests/test_spare.py tests/test_stores.py tests/test_arrays.py tests/test_autoinc.py tests/stress/test_leaks.py)
failed=() skipped=()

step() { printf '\n=== %s (%s s)\n' "$1" "$SECONDS"; }
skip() { skipped+=("$1: $2"); }

# A copy of the project, compiled in place by the interpreter $2 in a new environment; the flags are those of the caller.
built() {
    local name=$1 interpreter=$2
    mkdir "$work/$name"
    (cd "$source" && git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -c) |
        tar -x -C "$work/$name"
    "$interpreter" -m venv "$work/$name.venv" &&
        "$work/$name.venv/bin/python" -m pip install -q "setuptools>=77.0.3" "cython>=3.2.1,<3.3" numpy "zlib-ng>=1.0" \
            "pytest>=8" "hypothesis>=6" "argclz>=1.0" "tqdm>=4.64" typing-extensions &&
        (cd "$work/$name" && "$work/$name.venv/bin/python" setup.py -q build_ext --inplace >"$work/$name.log" 2>&1) ||
        { tail -n 20 "$work/$name.log"; return 1; }
}

# Run the tests in the copy $1 by the command that follows.
tested() {
    local name=$1
    shift
    (cd "$work/$name" && PYTHONPATH="$work/$name/src" "$@" -m pytest -q -p no:cacheprovider ${HYPOTHESIS:-} "${tests[@]}") || failed+=("$name")
}

for what in $wanted; do
    step "$what"
    case $what in
    malloc)
        built malloc "$python" || { failed+=(malloc); continue; }
        PYTHONMALLOC=debug tested malloc "$work/malloc.venv/bin/python" -X dev
        ;;
    asan)
        libraries="$(gcc -print-file-name=libasan.so 2>/dev/null) $(gcc -print-file-name=libubsan.so 2>/dev/null)"
        case $libraries in /*" "/*) ;; *) skip asan "gcc or its sanitizers are not installed"; continue ;; esac
        flags="-O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer"
        CC=gcc CFLAGS=$flags LDFLAGS=$flags built asan "$python" || { failed+=(asan); continue; }
        # What was freed is kept, so that its use is found, but not so much that tests which measure memory count it.
        LD_PRELOAD=$libraries ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
            PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1 tested asan "$work/asan.venv/bin/python"
        ;;
    valgrind)
        command -v valgrind >/dev/null || { skip valgrind "it is not installed"; continue; }
        CFLAGS="-O1 -g" built valgrind "$python" || { failed+=(valgrind); continue; }
        # Slow: fewer calls, and fewer examples.
        HYPOTHESIS=--hypothesis-profile=few PYTHONMALLOC=malloc PYTHONHASHSEED=0 LEAKS_DIVIDED_BY=20 OPENBLAS_NUM_THREADS=1 tested valgrind valgrind \
            --leak-check=full --show-leak-kinds=definite --num-callers=40 --log-file="$work/valgrind.out" \
            "$work/valgrind.venv/bin/python"
        tail -n 12 "$work/valgrind.out"
        # A record is a paragraph; count those with one of our modules in it.
        awk 'BEGIN { RS = "==[0-9]+== \n" } /neuralib\/persistence\/|__pyx_/ { print; n++ }
             END { print n + 0 " records of valgrind name our modules"; exit n > 0 }' "$work/valgrind.out" || failed+=("valgrind's records")
        ;;
    debug)
        debug=$(command -v python3-dbg || command -v python3.11-dbg || command -v python3d || true)
        [ -n "$debug" ] || { skip debug "no debug build of CPython is installed"; continue; }
        built debug "$debug" || { failed+=(debug); continue; }
        tested debug "$work/debug.venv/bin/python" -X dev
        ;;
    *) echo "unknown: $what" >&2; exit 2 ;;
    esac
done

step "done"
for check in "${skipped[@]}"; do echo "skipped $check"; done
if [ ${#failed[@]} -gt 0 ]; then echo "FAILED: ${failed[*]}"; exit 1; fi
