#!/usr/bin/env bash
# Builds, tests and runs importer: dist/importer if it was built from these sources, else in Docker if it is running,
# else with cargo on this machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

IMAGE=importer
STATE=/opt/ometria/state

usage() {
  cat <<'TEXT'
Usage: ./run.sh COMMAND

  demo      show a whole import; needs no account; demo shifts and demo warehouses show others
  go        import the lists of state/state.json; options go to the program: ./run.sh go --once
  status, history, check, preview, replay, release, verify, why, settings, schema, state, sandbox
            run the program's command of that name: ./run.sh verify 1a2d7ebf82
  build     build the program
  dist      build dist/importer, one static file for Linux that needs nothing else; needs cargo
  test      check the format, lint, run all tests
  soak      simulate many imports with random changes and faults: ./run.sh soak 5000; needs cargo
  bench     measure speed and memory for docs/performance.md: ./run.sh bench 1 2 4; needs cargo
  version   print the version

API keys come from the environment or from the file .env (lines NAME=value); see README.md.
IMPORTER_RUNTIME=docker|cargo selects the runtime; the default is dist/importer if it was built from these sources, then
Docker if it is running, then cargo.
IMPORTER_FEATURES=jq adds optional features to the build.
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

# Reads .env: lines NAME=value, with or without `export` and quotes. Nothing in it is executed. Variables that the
# environment has already take precedence.
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

# ---- dist/importer ----

# Prints the digest of what dist/importer is built from: the sources, the dependencies, the features, the kind of machine.
sources_digest() {
  {
    uname -sm
    echo "${IMPORTER_FEATURES:-}"
    find -L Cargo.toml Cargo.lock src -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum
}

# Returns whether dist/importer may run in place of a build: it has its checksum, and is built from these sources.
dist_matches() {
  local digest
  [ -f dist/importer ] || return 1
  if ! digest="$(sources_digest)" || [ "$digest" != "$(cat dist/importer.sources 2>/dev/null)" ]; then
    echo "run.sh: ignoring dist/importer: it was built from other sources or features; ./run.sh dist builds it again" >&2
    return 1
  fi
  if ! (cd dist && sha256sum --check --status importer.sha256); then
    echo "run.sh: ignoring dist/importer: it is damaged, since its checksum is not that of dist/importer.sha256;" \
      "./run.sh dist builds it again" >&2
    return 1
  fi
}

# Runs a program where there are only itself, a state file, root certificates, and a folder for temporary files.
smoke_test() {
  local root=dist/root version certificates=/etc/ssl/certs/ca-certificates.crt
  local inside=(env -i "PATH=$PATH:/usr/sbin:/sbin")
  if [ "$(id -u)" != 0 ]; then inside+=(unshare --map-root-user); fi
  inside+=(chroot "$root" /importer)
  rm -rf "$root"
  mkdir -p "$root/etc/ssl/certs" "$root/state" "$root/tmp"
  if [ -f "$certificates" ]; then cp "$certificates" "$root$certificates"; fi
  cp state/state.example.json "$root/state/state.json"
  cp "$1" "$root/importer"
  version="$("${inside[@]}" --version)" ||
    fail "the new program does not start on an empty root folder; to test that, be root or allow user namespaces"
  [ "$version" = "$(package_version)" ] || fail "the new program says '$version' instead of '$(package_version)'"
  "${inside[@]}" check >&2
  "${inside[@]}" demo >/dev/null 2>&1 || fail "the demo failed on an empty root folder"
  rm -rf "$root"
}

dist_build() {
  local features=() host before flags='-C target-feature=+crt-static'
  command -v cargo >/dev/null || fail "dist needs cargo: install Rust (https://rustup.rs)"
  host="$(rustc -vV | sed -n 's/^host: //p')"
  case "$host" in *-linux-*) ;; *) fail "dist builds a static program on Linux only; this machine is $host" ;; esac
  if [ -n "${IMPORTER_FEATURES:-}" ]; then features=(--features "$IMPORTER_FEATURES"); fi
  # Addresses that are fixed at the start take 1.4 MB less like this; older C libraries can't read the form.
  if printf '%s\n' 'glibc 2.36' "$(getconf GNU_LIBC_VERSION 2>/dev/null)" | sort --version-sort --check=quiet; then
    flags+=' -C link-arg=-Wl,-z,pack-relative-relocs'
  fi
  before="$(sources_digest)"
  # A named target keeps the flags away from programs that run during the build.
  RUSTFLAGS="$flags" cargo build --profile dist --target "$host" --locked "${features[@]}"
  mkdir -p dist
  cp "target/$host/dist/importer" dist/importer.new
  smoke_test dist/importer.new
  [ "$(sources_digest)" = "$before" ] || fail "the sources changed during the build; start ./run.sh dist again"
  # The digest comes last: until then nothing uses the program. A running importer keeps its own file.
  rm -f dist/importer.sources
  mv dist/importer.new dist/importer
  (cd dist && sha256sum importer >importer.sha256)
  echo "$before" >dist/importer.sources
  echo "run.sh: dist/importer is built and works on an empty root folder; its checksum is in dist/importer.sha256"
}

# ---- Docker ----

docker_build() {
  local features=()
  if [ -n "${IMPORTER_FEATURES:-}" ]; then features=(--build-arg "FEATURES=$IMPORTER_FEATURES"); fi
  docker build "${features[@]}" --tag "$IMAGE" . >&2
}

# --init forwards signals to the program and -it connects the terminal, so Ctrl-C stops the container as it stops the
# program.
docker_run() {
  local options=(--rm --init)
  if [ -t 0 ] && [ -t 1 ]; then options+=(--interactive --tty); fi
  exec docker run "${options[@]}" "$@"
}

docker_command() {
  local argument name path command="$1"
  shift
  local options=(--user "${SUDO_UID:-$(id -u)}:${SUDO_GID:-$(id -g)}" --volume "$PWD/state:$STATE")
  for argument in "$@"; do
    case "$argument" in --state | --state=*) fail "in Docker the state folder is always ./state; leave --state out" ;; esac
  done
  docker_build
  # The program knows which variables its adapters and the state file ask for. Only the names are passed: a value in
  # the arguments would be visible in the process list.
  while IFS= read -r name; do
    [[ "$name" =~ ^[A-Z][A-Z0-9_]*$ ]] || continue
    [ -n "${!name:-}" ] || continue
    options+=(--env "$name")
    # The container sees a file or a folder of secrets under the same path, and can't change it.
    if [[ "$name" == *_FILE || "$name" == IMPORTER_SECRETS ]]; then
      path="${!name}"
      case "$path" in /*) ;; *) path="$PWD/$path" && export "$name=$path" ;; esac
      [ -e "$path" ] || fail "$name names $path, which does not exist"
      options+=(--volume "$path:$path:ro")
    fi
  done < <(docker run --rm "${options[@]}" "$IMAGE" settings --names)
  docker_run "${options[@]}" "$IMAGE" "$command" "$@"
}

# ---- cargo ----

# Builds target/release/importer, or target/debug/importer if the profile is `dev`.
cargo_build() {
  local options=(--locked)
  if [ "${1:-release}" = release ]; then options=(--release --locked); fi
  if [ -n "${IMPORTER_FEATURES:-}" ]; then options+=(--features "$IMPORTER_FEATURES"); fi
  cargo build "${options[@]}"
}

# Without a build of `release`, runs one of `dev`, which takes half the time: the demo is what a newcomer waits for.
cargo_demo() {
  local profile=dev folder=debug
  if [ -f target/release/importer ]; then profile=release folder=release; fi
  cargo_build "$profile" && exec "target/$folder/importer" demo "$@"
}

# Prints a key of the sandbox, which no output may contain.
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
      fail "the output of the tests contains an address or a key"
    fi
    # The tests that need optional features.
    cargo nextest run --locked --all-features --no-fail-fast jq sql contract
  else
    cargo test --locked --lib --bins --tests
    cargo test --locked --all-features --lib --tests -- jq sql contract
  fi
}

# Simulates different worlds each time. A failing test names its seed; SOAK_FROM repeats it.
cargo_soak() {
  export SOAK_SEEDS="${1:-1000}" SOAK_FROM="${SOAK_FROM:-$((RANDOM * 32768 + RANDOM))}"
  [[ "$SOAK_SEEDS" =~ ^[0-9]+$ ]] || fail "soak needs a number of worlds; found '$SOAK_SEEDS'"
  echo "run.sh: $SOAK_SEEDS worlds, seeds from $SOAK_FROM"
  cargo test --locked --release --features sql --test it -- soak_of
}

# Measures the rows of docs/performance.md with these numbers, by default all, with a build that is slow to make.
cargo_bench() {
  cargo bench --locked --bench table -- "$@"
}

package_version() {
  sed -n 's/^version = "\(.*\)"/importer \1/p' Cargo.toml
}

command="${1:-}"
[ $# -gt 0 ] && shift
case "$command" in
  '') usage; exit 2 ;;
  help | -h | --help) usage; exit 0 ;;
  version) package_version; exit 0 ;;
  build | dist | test | soak | bench | go | demo | check | preview | replay | release | verify | why | status | history | settings | schema | state | sandbox) ;;
  *) usage >&2; fail "there is no command '$command'" ;;
esac

case "$command" in
  test | soak | bench) ;;
  *) load_env_file ;;
esac
case "$command" in
  dist) dist_build; exit 0 ;;
  build | test | soak | bench) ;;
  *) if [ -z "${IMPORTER_RUNTIME:-}" ] && dist_matches; then exec dist/importer "$command" "$@"; fi ;;
esac
where="$(runtime)"
case "$where-$command" in
  docker-build) docker_build ;;
  docker-soak) fail "soak needs cargo; choose it with IMPORTER_RUNTIME=cargo" ;;
  docker-bench) fail "bench needs cargo; choose it with IMPORTER_RUNTIME=cargo" ;;
  docker-test) docker build --target test --tag "$IMAGE-test" . && docker_run "$IMAGE-test" ;;
  docker-demo) docker_build && docker_run "$IMAGE" demo "$@" ;;
  docker-sandbox) docker_build && docker_run --network host "$IMAGE" sandbox "$@" ;;
  docker-go | docker-check | docker-preview | docker-replay | docker-release | docker-verify | docker-why | docker-status | docker-history | docker-settings | docker-schema | docker-state) docker_command "$command" "$@" ;;
  cargo-build) cargo_build ;;
  cargo-test) cargo_test ;;
  cargo-soak) cargo_soak "$@" ;;
  cargo-bench) cargo_bench "$@" ;;
  cargo-demo) cargo_demo "$@" ;;
  cargo-*) cargo_build && exec target/release/importer "$command" "$@" ;;
esac
