//! The files that an image build copies: static binaries of the operator, and CA certificates.
//!
//! Debian's glibc rather than musl, although both can be linked into the binary: musl fails to resolve a name of which a
//! server has an A record and no good answer for AAAA, and takes seven times as long over the JSON of a run.
//!
//! Nothing of this machine's paths and environment goes into them, so that the same sources, Rust and glibc can make the
//! same bytes elsewhere. The CA certificates are Mozilla's as Cargo.lock pins them, not those of this machine, which may
//! trust more.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::architecture::Architecture;
use crate::{Error, process};

/// The operator, as a file of the context's folder for an architecture.
const BINARY: &str = "testinium-operator";
const BUNDLE: &str = "ca-certificates.crt";

/// Makes the folder that the Dockerfile copies from.
pub fn make_context(repository: &Path, context: &Path, architectures: &[Architecture]) -> Result<(), Error> {
    // Binaries of another time would be taken for new ones.
    if context.exists() {
        fs::remove_dir_all(context).map_err(Error::io(format!("failed to remove {}", context.display())))?;
    }
    for architecture in architectures {
        let built = build(repository, *architecture)?;
        let folder = context.join(architecture.name());
        make_folder(&folder)?;
        let attempt = || format!("failed to copy {} to {}", built.display(), folder.display());
        fs::copy(&built, folder.join(BINARY)).map_err(Error::io(attempt()))?;
    }
    let path = context.join(BUNDLE);
    fs::write(&path, ca_certificates()).map_err(Error::io(format!("failed to write {}", path.display())))
}

/// Builds the operator for an architecture; returns where it is.
fn build(repository: &Path, architecture: Architecture) -> Result<PathBuf, Error> {
    let target = architecture.target();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target_directory = repository.join("target");
    let mut command = Command::new(cargo);
    command
        .current_dir(repository)
        .args(["build", "--locked", "--release", "--package", BINARY, "--bin", BINARY, "--target", target])
        .arg("--target-dir")
        .arg(&target_directory)
        .stdin(Stdio::null())
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| is_kept(name)));
    // Named with the target, they leave procedural macros alone, which run here and can't be static.
    let setting = |name: &str| format!("CARGO_TARGET_{}_{name}", target.to_uppercase().replace('-', "_"));
    command.env(setting("RUSTFLAGS"), flags(repository));
    if architecture != Architecture::HERE {
        command.env(setting("LINKER"), architecture.linker());
    }
    process::guard(&mut command)?;
    let status = command.status().map_err(Error::io("failed to run cargo"))?;
    if status.success() {
        return Ok(target_directory.join(target).join("release").join(BINARY));
    }
    let needs = match architecture {
        Architecture::HERE => String::new(),
        other => format!("; it needs `rustup target add {target}` and {}", other.linker()),
    };
    Err(Error::Image(format!("the build for {} ended with {status}{needs}", architecture.name())))
}

/// What the compiler is told beside the profile: to link libc into the binary, and which paths not to write into it.
fn flags(repository: &Path) -> String {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).unwrap_or_default();
    format!(
        "-C target-feature=+crt-static --remap-path-prefix={}=/cargo --remap-path-prefix={}=/src",
        home.display(),
        repository.display()
    )
}

/// Variables of this process that lead to the tools and to the network. Every other might change what is built.
fn is_kept(name: &str) -> bool {
    const TOOLS: [&str; 6] = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR"];
    const NETWORK: [&str; 4] = ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "SSL_CERT_"];
    let name = name.to_uppercase();
    TOOLS.contains(&name.as_str())
        || name.ends_with("_PROXY")
        || NETWORK.iter().any(|prefix| name.starts_with(prefix))
}

/// Mozilla's CA certificates in PEM.
fn ca_certificates() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = BASE64_STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            text.extend(line.iter().map(|byte| char::from(*byte)));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// Folders that everybody may enter, whatever this process's umask is: the image's user is another.
pub(super) fn make_folder(path: &Path) -> Result<(), Error> {
    let attempt = || format!("failed to make the folder {}", path.display());
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(Error::io(attempt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_environment_that_changes_the_build_is_kept() {
        for (name, kept) in [
            ("PATH", true),
            ("CARGO_HOME", true),
            ("https_proxy", true),
            ("CARGO_NET_OFFLINE", true),
            ("RUSTFLAGS", false),
            ("CARGO_ENCODED_RUSTFLAGS", false),
            ("CARGO_PROFILE_RELEASE_LTO", false),
            ("CARGO_TARGET_DIR", false),
            ("CFLAGS", false),
        ] {
            assert_eq!(is_kept(name), kept, "{name}");
        }
    }

    #[test]
    fn the_certificates_are_read_as_a_bundle() {
        let text = ca_certificates();
        let found = reqwest::Certificate::from_pem_bundle(text.as_bytes()).expect("it is PEM");
        assert_eq!(found.len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        assert!(found.len() > 100 && text.lines().all(|line| line.len() <= 64));
    }
}
