#!/usr/bin/env bash
# Builds, tests and runs importer: in Docker where an engine answers, otherwise with cargo on this machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

IMAGE=importer
STATE=/opt/ometria/state
SETTINGS=(MAILCHIMP_APIKEY OMETRIA_APIKEY MAILCHIMP_URL OMETRIA_URL MAILCHIMP_CONNECTIONS OMETRIA_RATE RUST_LOG
  WHEN_I_WORK_KEY WHEN_I_WORK_EMAIL WHEN_I_WORK_PASSWORD WHEN_I_WORK_TOKEN WHEN_I_WORK_URL WHEN_I_WORK_LOGIN_URL)

usage() {
  cat <<'TEXT'
Usage: ./run.sh COMMAND

  demo      show a whole import; needs no account. ./run.sh demo shifts shows another one
  go        import the lists of state/state.json; further words go to the program: ./run.sh go --once
  check, preview, replay, release, verify, why, schema, state, sandbox
            as the program's commands of these names: ./run.sh verify 1a2d7ebf82
  build     build the program
  test      check the format, lint, run all tests
  soak      try many more worlds in which members change and services fail: ./run.sh soak 5000; needs cargo
  version   print the version

API keys come from the environment or from a file .env (lines NAME=value); see README.md.
IMPORTER_RUNTIME=docker|cargo decides where it runs; without it Docker does where an engine answers.
IMPORTER_FEATURES=jq builds what cargo leaves out otherwise; the Docker image has all of it.
TEXT
}

fail() {
  echo "run.sh: $*" >&2
  exit 2
}

runtime() {
  case "${IMPORTER_RUNTIME:-}" in
    docker) command -v docker >/dev/null || fail "IMPORTER_RUNTIME is docker, but there is no docker command" ;;
    cargo) command -v cargo >/dev/null || fail "IMPORTER_RUNTIME is cargo, but there is no cargo command" ;;
    '') ;;
    *) fail "IMPORTER_RUNTIME is '$IMPORTER_RUNTIME'; it must be docker or cargo" ;;
  esac
  if [ -n "${IMPORTER_RUNTIME:-}" ]; then
    echo "$IMPORTER_RUNTIME"
  elif command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    echo docker
  elif command -v cargo >/dev/null; then
    echo cargo
  else
    fail "neither Docker nor cargo was found: install Docker (https://docs.docker.com/get-docker/) or Rust (https://rustup.rs)"
  fi
}

# Reads .env: lines NAME=value, as `export` or not, the value in quotes or not; nothing in it is executed. What the
# environment holds already wins.
load_env_file() {
  local line name value number=0
  [ -f .env ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    line="${line%$'\r'}"
    if [[ "$line" =~ ^[[:space:]]*(#.*)?$ ]]; then continue; fi
    if ! [[ "$line" =~ ^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]]; then
      fail ".env line $number is not NAME=value"
    fi
    name="${BASH_REMATCH[2]}" value="${BASH_REMATCH[3]}"
    if [[ "$value" =~ ^\"(.*)\"[[:space:]]*$ || "$value" =~ ^\'(.*)\'[[:space:]]*$ ]]; then value="${BASH_REMATCH[1]}"; fi
    if [ -z "${!name:-}" ]; then export "$name=$value"; fi
  done <.env
}

# ---- Docker ----

docker_build() {
  docker build --tag "$IMAGE" . >&2
}

# The container stops at ctrl-c like the program itself: --init hands signals on, -it takes them from a terminal.
docker_run() {
  local options=(--rm --init)
  if [ -t 0 ] && [ -t 1 ]; then options+=(--interactive --tty); fi
  exec docker run "${options[@]}" "$@"
}

docker_command() {
  local argument command="$1"
  shift
  local options=(--user "${SUDO_UID:-$(id -u)}:${SUDO_GID:-$(id -g)}" --volume "$PWD/state:$STATE")
  for argument in "$@"; do
    case "$argument" in --state | --state=*) fail "in Docker the state folder is always ./state; leave --state out" ;; esac
  done
  load_env_file
  # By name only: a value in the arguments would show in the list of processes.
  for name in "${SETTINGS[@]}"; do
    if [ -n "${!name:-}" ]; then options+=(--env "$name"); fi
  done
  docker_build
  docker_run "${options[@]}" "$IMAGE" "$command" "$@"
}

# ---- cargo ----

cargo_build() {
  local features=()
  if [ -n "${IMPORTER_FEATURES:-}" ]; then features=(--features "$IMPORTER_FEATURES"); fi
  cargo build --release --locked "${features[@]}"
}

# A key of the sandbox, which no output may hold.
sandbox_key() {
  sed -n "s/^pub const $1_KEY: &str = \"\(.*\)\";/\1/p" src/sandbox/mod.rs | grep .
}

cargo_test() {
  cargo fmt --check
  cargo clippy --locked --all-targets -- --deny warnings
  cargo clippy --locked --all-targets --all-features -- --deny warnings
  cargo test --locked --doc
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --no-fail-fast
    if grep --fixed-strings --max-count=3 --regexp='@example.com' --regexp="$(sandbox_key MAILCHIMP)" \
      --regexp="$(sandbox_key OMETRIA)" target/nextest/default/junit.xml; then
      fail "an address or a key is in what the tests print"
    fi
    # What only the features bring.
    cargo nextest run --locked --all-features --no-fail-fast jq contract
  else
    cargo test --locked --lib --bins --tests
    cargo test --locked --all-features --lib --tests -- jq contract
  fi
}

# Other worlds each time; the test names the seed of one that fails, and SOAK_FROM tries it again.
cargo_soak() {
  export SOAK_SEEDS="${1:-1000}" SOAK_FROM="${SOAK_FROM:-$((RANDOM * 32768 + RANDOM))}"
  [[ "$SOAK_SEEDS" =~ ^[0-9]+$ ]] || fail "soak takes the number of worlds; found '$SOAK_SEEDS'"
  echo "run.sh: $SOAK_SEEDS worlds, seeds from $SOAK_FROM"
  cargo test --locked --release --test it -- soak_of
}

command="${1:-}"
[ $# -gt 0 ] && shift
case "$command" in
  '') usage; exit 2 ;;
  help | -h | --help) usage; exit 0 ;;
  version) sed -n 's/^version = "\(.*\)"/importer \1/p' Cargo.toml; exit 0 ;;
  build | test | soak | go | demo | check | preview | replay | release | verify | why | schema | state | sandbox) ;;
  *) usage >&2; fail "there is no command '$command'" ;;
esac

where="$(runtime)"
case "$where-$command" in
  docker-build) docker_build ;;
  docker-soak) fail "soak needs cargo; choose it with IMPORTER_RUNTIME=cargo" ;;
  docker-test) docker build --target test --tag "$IMAGE-test" . && docker_run "$IMAGE-test" ;;
  docker-demo) docker_build && docker_run "$IMAGE" demo "$@" ;;
  docker-sandbox) docker_build && docker_run --network host "$IMAGE" sandbox "$@" ;;
  docker-go | docker-check | docker-preview | docker-replay | docker-release | docker-verify | docker-why | docker-schema | docker-state) docker_command "$command" "$@" ;;
  cargo-build) cargo_build ;;
  cargo-test) cargo_test ;;
  cargo-soak) cargo_soak "$@" ;;
  cargo-demo) cargo_build && exec target/release/importer demo "$@" ;;
  cargo-*) load_env_file && cargo_build && exec target/release/importer "$command" "$@" ;;
esac
