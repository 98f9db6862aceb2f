# A static binary alone in an image, for any architecture that the builder runs on:
#
#     docker build --tag testinium-operator:0.1.0 .
#
# `cargo run -p testinium-testbed --bin image` does without an engine what is written here, and runs the result: it knows
# the instructions that are used here and no others.

# Debian's glibc rather than Alpine's musl, although both can be linked into the binary: musl fails to resolve a name of
# which a server has an A record and no good answer for AAAA, and takes seven times as long over the JSON of a run.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# `cargo rustc`, since RUSTFLAGS would ask the same of procedural macros, which can't be static.
RUN cargo rustc --locked --release --package testinium-operator --bin testinium-operator -- \
    -C target-feature=+crt-static

FROM scratch
# Trusted for gateways without tls.caRef. The Kubernetes API server's CA comes with the pod's ServiceAccount.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/testinium-operator /testinium-operator
# By number, since there is no /etc/passwd; runAsNonRoot demands a number too.
USER 65532:65532
ENTRYPOINT ["/testinium-operator"]
CMD ["run"]
