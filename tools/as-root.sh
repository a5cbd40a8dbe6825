#!/usr/bin/env bash
# Run a command as root: directly when root already, else through sudo, which may ask for a password only on a
# terminal. Files that the command makes in the checkout are handed back to whoever called.
#
#   tools/as-root.sh COMMAND...       run it
#   tools/as-root.sh --check          exit 0 when root can be had, else say in one line why not
#   tools/as-root.sh --if-possible COMMAND...   run it as root, or as oneself where root cannot be had
set -euo pipefail

fail() {
  printf 'as-root: %s\n' "$*" >&2
  exit 2
}

why_not() {
  [ "$(id -u)" -eq 0 ] && return 1
  command -v sudo >/dev/null || { echo "this needs root, and sudo is not installed: run it as root"; return 0; }
  sudo -n true 2>/dev/null && return 1
  [ -t 0 ] && [ -t 2 ] && return 1
  echo "this needs root, and sudo would ask for a password but there is no terminal: run it as root or from a terminal"
}

if [ "${1:-}" = --if-possible ]; then
  shift
  if why_not >/dev/null; then exec "$@"; fi
elif reason=$(why_not); then
  fail "$reason"
fi

if [ "${1:-}" = --check ]; then
  # Ask now, in the foreground, so that later steps find the answer remembered.
  if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then sudo -v || fail "sudo refused"; fi
  exit 0
fi

[ "$(id -u)" -eq 0 ] && exec "$@"

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
status=0
sudo --preserve-env=CI,WAKEGUARD_DATA,WAKEGUARD_DEBIAN,PYTEST_ADDOPTS,TERM "$@" || status=$?
sudo chown -Rh --from=root "$(id -u):$(id -g)" "$top" || true
exit "$status"
