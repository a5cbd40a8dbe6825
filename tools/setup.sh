#!/usr/bin/env bash
# Set up what `make demo` or `make test` needs: Debian packages, a virtual environment in .venv, Wakeguard in it.
#
#   tools/setup.sh demo|test        set up; a second run finds everything done and returns at once
#   tools/setup.sh demo|test plan   only say what would be downloaded
#
# Writes nothing outside the checkout but Debian packages. Never asks a question, except that sudo may ask
# for a password on a terminal. pip and apt use the machine's own configuration.
#   PYTHON=/path/to/python3      use this Python (3.11 or newer) and not the system's
#   WAKEGUARD_SKIP_APT=1         do not look at Debian packages (they are provided by other means)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=${1:-}
action=${2:-install}

# What each profile needs of Debian, and how much a fresh machine downloads for it.
# The gate: netfilterqueue has no wheels, so it is built here. The lab: iptables, ip.
demo_packages=(ca-certificates gcc iproute2 iptables libc6-dev libnetfilter-queue-dev openssl procps python3
  python3-dev python3-venv util-linux)
test_packages=("${demo_packages[@]}" alsa-utils conntrack git iputils-ping nftables shellcheck tshark)
# The machine with a gpiochip: QEMU for this processor's programs. Its kernel is fetched by the test itself.
if [ "$HOSTTYPE" = x86_64 ]; then
  test_packages+=(busybox-static cpio debian-archive-keyring kmod qemu-system-x86)
fi
# Taken where the release has it: Debian 12 does not, and its Python gets PyPI's.
test_options=(python3-lgpio)
demo_estimate="about 80 MB of Debian packages and 25 MB of Python packages; 1 minute on a PC, 3 on a Raspberry Pi 4"
test_estimate="about 185 MB of Debian packages, 215 MB of Python packages, a kernel of 121 MB for a virtual machine and, where npm is installed, 5 MB of Grafana's types; 2 minutes on a PC, 6 on a Raspberry Pi 4"

say() { printf '%s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 2
}

case $profile in
  demo) packages=("${demo_packages[@]}") estimate=$demo_estimate options=() extra=lab stamps=(.venv/set-up-for-demo .venv/set-up-for-test) ;;
  test) packages=("${test_packages[@]}") estimate=$test_estimate options=("${test_options[@]}") extra=test stamps=(.venv/set-up-for-test) ;;
  *) fail "use: tools/setup.sh demo|test [plan]" ;;
esac

log=build/setup.log
stamp=.venv/set-up-for-$profile

# Run one long step with its output in the log, saying every ten seconds that it is alive.
step() {
  local title=$1 started=$SECONDS status=0 worker
  shift
  say "  $title"
  printf '\n== %s\n' "$*" >>"$log"
  "$@" >>"$log" 2>&1 </dev/null &
  worker=$!
  while kill -0 "$worker" 2>/dev/null; do
    sleep 0.2
    if (((SECONDS - started) >= ${next:=10})); then
      say "    ... $((SECONDS - started)) s"
      next=$((next + 10))
    fi
  done
  next=10
  wait "$worker" || status=$?
  [ "$status" -eq 0 ] && return 0
  tail -n 12 "$log" | sed 's/^/    | /' >&2
  fail "$title: failed (status $status); the whole output is in $log"
}

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
  done
}

# Print what apt would fetch, in MB. --print-uris never installs anything, whatever apt is configured to assume.
apt_megabytes() {
  apt-get install --yes --no-install-recommends --print-uris -qq "$@" 2>/dev/null |
    awk '{ bytes += $3 } END { printf "%.0f", bytes / 1e6 }'
}

install_packages() {
  local missing root option
  [ -n "${WAKEGUARD_SKIP_APT:-}" ] && return 0
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    fail "this is neither Debian nor Raspberry Pi OS (no apt-get): install the equivalents of '${packages[*]}', then run again with WAKEGUARD_SKIP_APT=1"
  fi
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -eq 0 ] && return 0
  say "  missing Debian packages: ${missing[*]}"
  tools/as-root.sh --check || exit 2
  root=(tools/as-root.sh env DEBIAN_FRONTEND=noninteractive)
  step "apt-get update" "${root[@]}" apt-get update
  for option in "${options[@]}"; do
    if apt-cache show "$option" >/dev/null 2>&1; then missing+=("$option"); fi
  done
  if [[ " ${missing[*]} " == *" tshark "* ]] && command -v debconf-set-selections >/dev/null; then
    step "answer for wireshark-common: capture as root only" "${root[@]}" \
      sh -c 'echo "wireshark-common wireshark-common/install-setuid boolean false" | debconf-set-selections'
  fi
  step "apt-get install, $(apt_megabytes "${missing[@]}") MB" "${root[@]}" \
    apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "${missing[@]}"
}

# Programs out of Debian's packages: to install the packages would start servers.
monitoring_programs=(prometheus promtool amtool)

# Print the package that has a program: since Debian 13 promtool has its own.
package_of() {
  if apt-cache show "$1" >/dev/null 2>&1; then
    printf '%s\n' "$1"
  elif [ "$1" = amtool ]; then
    printf 'prometheus-alertmanager\n'
  else
    printf 'prometheus\n'
  fi
}

fetch_programs() {
  local program package folder
  for program in "$@"; do
    package=$(package_of "$program")
    folder=build/programs/$package
    if [ ! -d "$folder" ]; then
      mkdir -p "$folder"
      (cd "$folder" && apt-get download "$package")
    fi
    dpkg-deb --fsys-tarfile "$folder"/*.deb | tar -x -C "$folder" "./usr/bin/$program"
    mv "$folder/usr/bin/$program" ".venv/bin/$program"
  done
  rm -rf build/programs
}

install_programs() {
  local program missing=()
  [ "$profile" = test ] && [ -z "${WAKEGUARD_SKIP_APT:-}" ] || return 0
  for program in "${monitoring_programs[@]}"; do
    if [ ! -x ".venv/bin/$program" ] && ! command -v "$program" >/dev/null; then missing+=("$program"); fi
  done
  [ "${#missing[@]}" -eq 0 ] && return 0
  apt-cache show prometheus >/dev/null 2>&1 || step "apt-get update" tools/as-root.sh apt-get update
  step "${missing[*]}, out of Debian's packages" fetch_programs "${missing[@]}"
}

recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# The system's Python first: on a Raspberry Pi only that one sees Debian's python3-lgpio.
choose_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    command -v "$PYTHON" >/dev/null || fail "PYTHON=$PYTHON is not a program"
    recent_enough "$PYTHON" || fail "PYTHON=$PYTHON is older than 3.11"
    command -v "$PYTHON"
    return
  fi
  for candidate in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null && recent_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  fail "no Python 3.11 or newer: Debian 12, Raspberry Pi OS 12 and later have one; elsewhere name one with PYTHON=..."
}

fingerprint() {
  { cat pyproject.toml tools/setup.sh && pwd -P && "$python" -c 'import sys; print(sys.version, sys.prefix)'; } | sha256sum
}

venv_usable() {
  [ -x .venv/bin/python ] && [ -x .venv/bin/pip ] &&
    [ "$(.venv/bin/python -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null)" = \
      "$("$python" -c 'import sys; print(sys.base_prefix, sys.version)')" ] &&
    [ "$(head -n 1 .venv/bin/pip)" = "#!$(pwd -P)/.venv/bin/python3" ]
}

already_set_up() {
  local mark
  [ -x .venv/bin/wakeguard ] || return 1
  for mark in "${stamps[@]}"; do
    [ -f "$mark" ] && [ "$(cat "$mark")" = "$(fingerprint)" ] && return 0
  done
  return 1
}

install_wakeguard() {
  if [ -e .venv ] && [ ! -w .venv ]; then
    fail ".venv belongs to another user (set up with sudo before?): remove it with 'sudo rm -r .venv' and run again"
  fi
  venv_usable || step "virtual environment in .venv with $python" "$python" -m venv --clear --system-site-packages .venv
  step "pip install, Wakeguard and what it needs ($profile)" \
    .venv/bin/python -m pip install --no-input --disable-pip-version-check --editable ".[$extra]"
  .venv/bin/wakeguard --version >/dev/null || fail ".venv/bin/wakeguard does not start; see $log"
}

if [ "$action" = plan ]; then
  say "On a fresh machine: $estimate."
  mapfile -t missing < <(command -v dpkg-query >/dev/null && missing_packages)
  say "Missing Debian packages here: ${missing[*]:-none}"
  exit 0
fi

# Everything below is skipped when it was done before: the usual case, and a quick one.
if [ -x .venv/bin/python ] && python=$(choose_python 2>/dev/null) && already_set_up; then
  if [ -n "${WAKEGUARD_SKIP_APT:-}" ] || { command -v dpkg-query >/dev/null && [ -z "$(missing_packages)" ]; }; then
    exit 0
  fi
fi

mkdir -p build
: >"$log"
say "Setting up for 'make $profile', once. A fresh machine downloads $estimate."
started=$SECONDS
install_packages
python=$(choose_python)
install_wakeguard
install_programs
fingerprint >"$stamp"
say "  ready after $((SECONDS - started)) s"
