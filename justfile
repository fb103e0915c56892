# Everyday commands. `just` alone lists them; each is a line one can also type.

export PATH := justfile_directory() / ".parts/bin" + ":" + env("PATH")

_default:
    @just --list

# Install what the tests need besides Rust.
parts:
    deploy/dev/parts

# What CI does, whole.
ci:
    .ci/run

# Types only: the quickest answer.
check:
    cargo check --workspace --all-targets

lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    buf lint
    buf format -d --exit-code

format:
    cargo fmt --all
    buf format -w

test *filter:
    cargo test --workspace {{ filter }}

# The rules of the house: floors, sizes, docs, who may do what.
tidy:
    cargo test --package novacula-tests --test tidy

# Run every row of the crash matrix and write docs/operate/crash-matrix.md anew.
crash-matrix:
    NOVACULA_UPDATE=1 NOVACULA_REQUIRE=all cargo test --package novacula-tests --test e2e -- matrix::

# Run every row of the operator's crash matrix and write docs/operate/operator-crash-matrix.md anew.
operator-crash-matrix:
    NOVACULA_UPDATE=1 NOVACULA_REQUIRE=all cargo test --workspace --test kube -- matrix_

# Build what `cargo demo` builds, from nothing, and say where the time goes: target/cold/cargo-timings/cargo-timing.html.
build-times:
    rm -rf target/cold
    cargo build --release --timings --target-dir target/cold --package novacula-server --package novacula-cli --package novacula-demo-agents --bins

# Request to receipt, streams beside polling, over the embedded store.
bench *arguments:
    cargo bench-fleet {{ arguments }}

# What the web page costs over 100,000 executors, beside the API, and what 500 live pages hold in memory.
bench-pages *arguments:
    cargo bench-pages {{ arguments }}

# What server and agent hold in memory, in processes of their own, with a thousand streams open; and how often an idle agent wakes.
bench-memory *arguments:
    cargo build --release --package novacula-server --package novacula-cli --package novacula-agent
    cargo bench-memory {{ arguments }}

# Request to receipt on one replica and across two over PostgreSQL, beside the embedded store; statements of PostgreSQL.
bench-replicas *arguments:
    cargo bench-replicas {{ arguments }}

# Restart three replicas one after the other under so many executors (3 to 1,000) and upgrades; the figures are printed.
rolling-restart executors="1000":
    NOVACULA_ROLLING_EXECUTORS={{ executors }} NOVACULA_REQUIRE=all cargo test --package novacula-tests --test operate -- a_rolling_restart

# Replicas, executors and people in random weather: `just weather 600`, `just weather 600 41` for a seed that failed.
weather seconds="300" seed="":
    NOVACULA_SECONDS={{ seconds }} {{ if seed == "" { "" } else { "NOVACULA_SEED=" + seed } }} cargo test --package novacula-tests --test operate -- weather_every

# Take the pictures of every page anew, for docs/screenshots: light, dark and on a phone.
screenshots:
    NOVACULA_SCREENSHOTS=1 NOVACULA_REQUIRE=all cargo test --workspace --test web -- pages::

# Pictures of these pages of the tests' stage, in /tmp/novacula-look: `just look /releases,/organizations/acme/executors`.
look paths:
    NOVACULA_LOOK={{ paths }} cargo test --workspace --test web -- look::

demo *arguments:
    cargo demo {{ arguments }}

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Licences, bans and sources of every dependency.
deny:
    cargo deny check bans licenses sources

# Known vulnerabilities; needs a network beyond the package registries, so CI leaves it to a person before a release.
advisories:
    cargo deny check advisories

# Each crate builds alone: no feature is borrowed from a neighbour.
check-each:
    for manifest in */Cargo.toml; do cargo check --manifest-path "$manifest" || exit 1; done

# Promise the API as it is now: from here on CI refuses to break it.
api-promise:
    .ci/api promise

# Render the charts with the values of tests/charts, and keep what comes out; read the difference.
charts:
    NOVACULA_UPDATE=1 NOVACULA_REQUIRE=all cargo test --package novacula-tests --test charts -- the_charts_render_what_is_kept
