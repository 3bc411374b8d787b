# The program is built with everything that compiling needs, and shipped without it.
FROM rust:1.95-bookworm AS source
WORKDIR /build
COPY . .

# ./run.sh test
FROM source AS test
RUN rustup component add clippy rustfmt
ENV IMPORTER_RUNTIME=cargo
CMD ["./run.sh", "test"]

FROM source AS builder
RUN cargo build --release --locked --all-features

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=builder /build/target/release/importer /usr/local/bin/importer
# The state folder is mounted at /opt/ometria/state; run.sh sets the caller's ids instead of this user's.
WORKDIR /opt/ometria
USER 1000:1000
ENTRYPOINT ["importer"]
CMD ["go"]
