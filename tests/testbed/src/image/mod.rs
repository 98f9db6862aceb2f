//! The image, made without a container engine.
//!
//! ```text
//! cargo -> the Dockerfile's context -> the Dockerfile, read as a recipe -> layers -> OCI layout -> unpacked, chroot
//! ```
//!
//! The Dockerfile alone says what is in the image and how it is run, so an engine's image can't differ unnoticed; what
//! is tried out is unpacked from the very layout that is pushed.

mod architecture;
mod binaries;
mod digest;
mod dockerfile;
mod layer;
mod layout;
mod origin;
mod root;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use self::architecture::Architecture;
pub use self::digest::digest;
pub use self::layout::Layout;
pub use self::origin::Origin;
pub use self::root::{Content, Root};
use crate::Error;

/// The folders in a directory that an image is made in.
#[derive(Clone, Debug)]
pub struct Places {
    /// The files that the Dockerfile copies.
    pub context: PathBuf,
    /// The image.
    pub layout: PathBuf,
    /// The image's files.
    pub root: PathBuf,
}

// === impl Places ===

impl Places {
    pub fn within(directory: &Path) -> Self {
        Self {
            context: directory.join("context"),
            layout: directory.join("layout"),
            root: directory.join("root"),
        }
    }
}

/// Builds the image that `repository`'s Dockerfile describes, for these architectures.
pub fn build(
    repository: &Path,
    places: &Places,
    architectures: &[Architecture],
    origin: &Origin,
) -> Result<Layout, Error> {
    binaries::make_context(repository, &places.context, architectures)?;
    let path = repository.join("Dockerfile");
    let text = fs::read_to_string(&path).map_err(Error::io(format!("failed to read {}", path.display())))?;
    assemble(&text, places, architectures, origin)
}

/// Makes the image of a context that is there.
pub(crate) fn assemble(
    dockerfile: &str,
    places: &Places,
    architectures: &[Architecture],
    origin: &Origin,
) -> Result<Layout, Error> {
    let mut writer = layout::Writer::begin(&places.layout, &origin.created)?;
    for architecture in architectures {
        let arguments = [
            ("TARGETARCH", architecture.name()),
            ("VERSION", &origin.version),
            ("REVISION", &origin.revision),
            ("SOURCE", &origin.source),
        ];
        let recipe = dockerfile::parse(dockerfile, &arguments)?;
        let layers = recipe.copies.iter().map(|copied| {
            let path = places.context.join(&copied.source);
            let attempt = || format!("failed to make a layer of {}", path.display());
            let content = fs::read(&path).map_err(Error::io(attempt()))?;
            let mode = fs::metadata(&path).map_err(Error::io(attempt()))?.permissions().mode();
            layer::make(&copied.target, &content, mode & 0o100 != 0).map_err(Error::io(attempt()))
        });
        writer.add(*architecture, &recipe, &layers.collect::<Result<Vec<_>, _>>()?)?;
    }
    writer.finish(&origin.version)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const DOCKERFILE: &str = "\
FROM scratch
ARG TARGETARCH
ARG VERSION
ARG SOURCE
COPY users /etc/users
COPY ${TARGETARCH}/program /bin/program
USER 7:8
ENTRYPOINT [\"/bin/program\", \"x\"]
CMD [\"y\"]
LABEL title=\"a b\" version=\"${VERSION}\" source=\"${SOURCE}\"
";

    fn origin() -> Origin {
        Origin {
            version: "1.2.3".to_owned(),
            revision: "abc".to_owned(),
            created: "2026-01-02T03:04:05Z".to_owned(),
            source: String::new(),
        }
    }

    fn made(directory: &Path) -> (Places, Layout) {
        let places = Places::within(directory);
        for architecture in ["amd64", "arm64"] {
            let folder = places.context.join(architecture);
            fs::create_dir_all(&folder).expect("a folder");
            let program = folder.join("program");
            fs::write(&program, architecture).expect("a file");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("it is ours");
        }
        fs::write(places.context.join("users"), "root").expect("a file");
        let architectures = [Architecture::Amd64, Architecture::Arm64];
        let layout = assemble(DOCKERFILE, &places, &architectures, &origin()).expect("it is made");
        (places, layout)
    }

    fn json(layout: &Layout, digest: &str) -> Value {
        serde_json::from_slice(&layout.read(digest).expect("it is there")).expect("it is JSON")
    }

    #[test]
    fn each_architecture_has_an_image_of_its_own_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let (places, layout) = made(directory.path());
        for architecture in [Architecture::Amd64, Architecture::Arm64] {
            let root = layout.unpack(architecture, &places.root).expect("it is unpacked");
            let program = fs::read_to_string(root.program()).expect("it was copied");
            assert_eq!(program, architecture.name(), "nothing is left of another");
            assert_eq!(fs::read_to_string(places.root.join("etc/users")).expect("it was copied"), "root");
            let mode = |path: &str| {
                let metadata = fs::metadata(places.root.join(path)).expect("it was copied");
                metadata.permissions().mode() & 0o777
            };
            assert_eq!([mode("etc"), mode("etc/users"), mode("bin/program")], [0o755, 0o644, 0o755]);
            let words: Vec<_> = root.default_command().get_args().map(|word| word.to_os_string()).collect();
            assert_eq!(words[words.len() - 3..], ["/bin/program", "x", "y"], "{words:?}");
        }
    }

    #[test]
    fn an_image_says_where_it_comes_from_and_every_time_the_same() {
        let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let [(_, one), (_, other)] = [0, 1].map(|number: usize| made(directories[number].path()));
        assert_eq!(one.digest().expect("it has one"), other.digest().expect("it has one"));
        let index = json(&one, &one.digest().expect("it has one"));
        let manifest = json(&one, &one.manifests().expect("it has them")["arm64"]);
        let config = json(&one, manifest["config"]["digest"].as_str().expect("it has one"));
        let expected = serde_json::json!({
            "org.opencontainers.image.created": "2026-01-02T03:04:05Z", "title": "a b", "version": "1.2.3",
        });
        for labels in [&index["annotations"], &manifest["annotations"], &config["config"]["Labels"]] {
            assert_eq!(*labels, expected, "a source that nobody gave is left out");
        }
        assert_eq!(config["config"]["User"], "7:8");
        assert_eq!(config["architecture"], "arm64");
    }

    #[test]
    fn a_blob_that_was_changed_is_noticed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (places, layout) = made(directory.path());
        let digest = layout.manifests().expect("it has them")["amd64"].clone();
        fs::write(places.layout.join("blobs").join(digest.replace(':', "/")), "{}").expect("it is ours");
        let error = layout.unpack(Architecture::Amd64, &places.root).expect_err("it was changed");
        assert!(error.to_string().contains("is not what its name says"), "{error}");
    }
}
