//! The bounds of the values that a gateway's Secrets may hold. Each is far above any real need: it is there so that one
//! namespace's Secret can't take the time and memory of all others.

/// The longest token, key, user name or password. JSON web tokens with many claims have 4 KiB, and few servers take
/// headers of 16.
pub const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

/// The largest bundle of CA certificates, which is also the most that a Secret or ConfigMap holds. That of a
/// distribution with every public authority has 220 KiB.
pub const CA_BYTES_MAX: usize = 1024 * 1024;

/// The largest client certificate with its chain: some dozen certificates.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;

/// The largest private key: ten times an RSA key of 4,096 bits.
pub const KEY_BYTES_MAX: usize = 32 * 1024;
