# The program is built with everything that compiling needs, and shipped without it.
FROM rust:1.95-bookworm AS source
WORKDIR /build
COPY . .

# ./run.sh test
FROM source AS test
RUN rustup component add clippy rustfmt
ENV IMPORTER_RUNTIME=cargo
CMD ["./run.sh", "test"]

# One static file, built and tested by ./run.sh dist. Optional features: docker build --build-arg FEATURES=jq .
FROM source AS builder
ARG FEATURES=
RUN IMPORTER_FEATURES="$FEATURES" ./run.sh dist \
    && mkdir -p /image/etc/ssl/certs /image/tmp /image/usr/local/bin \
    && chmod 1777 /image/tmp \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && cp dist/importer /image/usr/local/bin/

# Nothing but the program, the root certificates and a folder for temporary files.
FROM scratch
COPY --from=builder /image/ /
ENV PATH=/usr/local/bin
# The state folder is mounted at /opt/ometria/state; run.sh sets the caller's ids instead of this user's.
WORKDIR /opt/ometria
USER 1000:1000
ENTRYPOINT ["importer"]
CMD ["go"]
