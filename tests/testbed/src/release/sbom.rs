//! A list of what is linked into a binary, as a CycloneDX document.
//!
//! It names the crates that Cargo links for one target, with their licences and the checksums of Cargo.lock, and the Rust
//! and the glibc that come with the compilers. Crates that only the build or the tests need are no part of the binary.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::Error;
use crate::image::{Architecture, Origin, digest};
use crate::tools;

/// A line of `cargo tree`.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Package {
    name: String,
    version: String,
    licence: String,
}

const OPERATOR: &str = "testinium-operator";

/// The document for the binary of an architecture.
pub fn document(
    repository: &Path,
    architecture: Architecture,
    origin: &Origin,
    binary: &[u8],
) -> Result<Value, Error> {
    let mut tree = cargo(repository);
    tree.args(["tree", "--locked", "--package", OPERATOR, "--edges", "normal,no-proc-macro"]);
    tree.args(["--target", architecture.target(), "--prefix", "none", "--format", "{p}\t{l}"]);
    let packages = packages(&tools::run(tree)?.success()?);
    let path = repository.join("Cargo.lock");
    let lock =
        std::fs::read_to_string(&path).map_err(Error::io(format!("failed to read {}", path.display())))?;
    let checksums = checksums(&lock);
    let linked = packages.iter().filter(|package| package.name != OPERATOR);
    let mut components: Vec<_> = linked
        .map(|package| component(package, checksums.get(&(&package.name[..], &package.version[..]))))
        .collect();
    let mut version = cargo(repository);
    version.arg("--version");
    let rust = tools::run(version)?.success()?;
    let rust = rust.split_whitespace().nth(1).unwrap_or_default();
    components.push(json!({"type": "library", "bom-ref": "rust-std", "name": "rust-std", "version": rust}));
    components.extend(glibc(binary));
    let hash = digest(binary);
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {
            "timestamp": origin.created,
            "component": {
                "type": "application", "bom-ref": OPERATOR, "name": OPERATOR, "version": origin.version,
                "licenses": [{"expression": "Apache-2.0"}], "hashes": [sha256(&hash)],
                "properties": [
                    {"name": "architecture", "value": architecture.name()},
                    {"name": "revision", "value": origin.revision},
                ],
            },
        },
        "components": components,
    }))
}

fn cargo(repository: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository);
    command
}

/// The packages of a tree's lines, each once, in order.
fn packages(tree: &str) -> BTreeSet<Package> {
    let package = |line: &str| {
        let (package, licence) = line.trim_end_matches(" (*)").split_once('\t')?;
        let mut words = package.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        // An older way to write the same.
        let licence = licence.replace('/', " OR ");
        Some(Package { name: name.to_owned(), version: version.to_owned(), licence })
    };
    tree.lines().filter_map(package).collect()
}

/// The checksums of a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let checksum = |block| {
        let id = (value(block, "name")?, value(block, "version")?);
        Some((id, value(block, "checksum")?))
    };
    lock.split("[[package]]").filter_map(checksum).collect()
}

/// The text of one field of a package.
fn value<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    let field = format!("\n{name} = \"");
    let start = block.find(&field)? + field.len();
    block[start..].split('"').next()
}

fn component(package: &Package, checksum: Option<&&str>) -> Value {
    let purl = format!("pkg:cargo/{}@{}", package.name, package.version);
    let mut component = json!({
        "type": "library", "bom-ref": purl, "purl": purl, "name": package.name, "version": package.version,
    });
    if !package.licence.is_empty() {
        component["licenses"] = json!([{"expression": package.licence}]);
    }
    if let Some(checksum) = checksum {
        component["hashes"] = json!([sha256(checksum)]);
    }
    component
}

fn sha256(digest: &str) -> Value {
    json!({"alg": "SHA-256", "content": digest.trim_start_matches("sha256:")})
}

/// The C library that says its name within the binary, such as "Debian GLIBC 2.36-9".
fn glibc(binary: &[u8]) -> Option<Value> {
    const BEFORE: &[u8] = b"GNU C Library (";
    let start = binary.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let length = binary[start..].iter().position(|byte| *byte == b')')?;
    let version = std::str::from_utf8(&binary[start..start + length]).ok()?;
    Some(json!({"type": "library", "bom-ref": "glibc", "name": "glibc", "version": version}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_from_a_tree_once_each() {
        let tree = "testinium-operator v0.1.0 (/src)\tApache-2.0\nb v2.0.0\tMIT/Apache-2.0\na v1.0.0+x\t\n\
                    b v2.0.0\tMIT/Apache-2.0 (*)\n\n";
        let found = packages(tree);
        let found: Vec<_> = found.iter().map(|p| (&p.name[..], &p.version[..], &p.licence[..])).collect();
        let expected = [
            ("a", "1.0.0+x", ""),
            ("b", "2.0.0", "MIT OR Apache-2.0"),
            ("testinium-operator", "0.1.0", "Apache-2.0"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn checksums_are_read_from_a_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"0f\"\n\n\
                    [[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n";
        assert_eq!(checksums(lock), BTreeMap::from([(("a", "1.0.0"), "0f")]));
    }

    #[test]
    fn the_c_library_is_found_by_its_own_words() {
        let binary = b"\0\x01GNU C Library (Debian GLIBC 2.36-9) stable release";
        assert_eq!(glibc(binary).expect("it is there")["version"], "Debian GLIBC 2.36-9");
        assert_eq!(glibc(b"musl"), None);
    }
}
