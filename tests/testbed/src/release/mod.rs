//! A release: its files, and what registries get.
//!
//! ```text
//! image layout -> the chart, which names its digest -> archive, list of what is linked, checksums
//!              -> registry: image, chart           -> pulled back, and compared
//! ```

mod chart;
mod registry;
mod sbom;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use self::registry::Registry;
use crate::Error;
use crate::helm::Helm;
use crate::image::{Architecture, Layout, Origin, digest};
use crate::kubectl::Output;
use crate::process::temporary_directory;
use crate::tools::{self, Tool};

/// What is released, and where to.
#[derive(Clone, Debug)]
pub struct Release<'a> {
    pub repository: &'a Path,
    pub layout: &'a Layout,
    pub origin: &'a Origin,
    pub architectures: &'a [Architecture],
    /// The folder for the files, which is empty.
    pub directory: &'a Path,
    pub target: Target,
}

/// A place in a registry.
#[derive(Clone, Debug)]
pub struct Target {
    /// The registry and the path in it, such as `registry.example.com/testinium`.
    pub prefix: String,
    /// Whether it is a registry without TLS, on this machine.
    pub is_plain: bool,
}

const CHECKSUMS: &str = "SHA256SUMS";

// === impl Target ===

impl Target {
    /// The image's repository.
    pub fn image(&self) -> String {
        format!("{}/testinium-operator", self.prefix)
    }

    /// The place of the chart's repository.
    pub fn charts(&self) -> String {
        format!("oci://{}/charts", self.prefix)
    }
}

// === impl Release ===

impl Release<'_> {
    /// Writes the files of the release; returns the chart's package.
    pub fn write_files(&self, helm: &Helm) -> Result<PathBuf, Error> {
        let version = &self.origin.version;
        let image = (&self.target.image()[..], &self.layout.digest()?[..]);
        let chart = chart::package(self.repository, helm, self.directory, image, version)?;
        self.write(&format!("testinium-operator-{version}-image.tar"), &self.layout.archive()?)?;
        for architecture in self.architectures {
            let root = temporary_directory("testinium-root-")?;
            let program = self.layout.unpack(*architecture, &root.path().join("root"))?.program();
            let binary = read(&program)?;
            let sbom = sbom::document(self.repository, *architecture, self.origin, &binary)?;
            let name = format!("testinium-operator-{version}-{}.cdx.json", architecture.name());
            self.write(&name, format!("{sbom:#}\n").as_bytes())?;
        }
        self.write(CHECKSUMS, self.checksums()?.as_bytes())?;
        Ok(chart)
    }

    /// Pushes the image and the chart.
    pub fn push(&self, helm: &Helm, chart: &Path) -> Result<(), Error> {
        let reference = format!("{}:{}", self.target.image(), self.origin.version);
        self.crane(&["push", &self.layout.folder().to_string_lossy(), &reference])?;
        self.helm(helm, &["push", &chart.to_string_lossy(), &self.target.charts()])?;
        Ok(())
    }

    /// Pulls everything back, and compares it with what was made.
    pub fn verify(&self, helm: &Helm, chart: &Path) -> Result<(), Error> {
        self.verify_checksums()?;
        self.verify_image()?;
        self.verify_chart(helm, chart)
    }

    /// By coreutils' program, as the documents tell users to do.
    fn verify_checksums(&self) -> Result<(), Error> {
        let mut command = Command::new("sha256sum");
        command.current_dir(self.directory).args(["--check", "--strict", "--quiet", CHECKSUMS]);
        tools::run(command)?.success().map(drop)
    }

    fn verify_image(&self) -> Result<(), Error> {
        let image = self.target.image();
        let expected = self.layout.digest()?;
        let pushed = self.crane(&["digest", &format!("{image}:{}", self.origin.version)])?;
        same("the image's digest in the registry", pushed.trim(), &expected)?;
        let pinned = format!("{image}@{expected}");
        for (architecture, expected) in self.layout.manifests()? {
            let platform = format!("linux/{architecture}");
            let pushed = self.crane(&["digest", "--platform", &platform, &pinned])?;
            same(&format!("the digest for {platform} in the registry"), pushed.trim(), &expected)?;
        }
        let directory = temporary_directory("testinium-pulled-")?;
        let pulled = directory.path().join("layout");
        self.crane(&["pull", "--format", "oci", &pinned, &pulled.to_string_lossy()])?;
        let pulled = Layout::open(&pulled);
        same("the pulled image's digest", &pulled.digest()?, &expected)?;
        for blob in self.layout.blobs()? {
            // It reads nothing that differs from its digest.
            pulled.read(&blob)?;
        }
        Ok(())
    }

    fn verify_chart(&self, helm: &Helm, chart: &Path) -> Result<(), Error> {
        let directory = temporary_directory("testinium-pulled-")?;
        let (place, version) = (format!("{}/{}", self.target.charts(), chart::NAME), &self.origin.version);
        let destination = directory.path().to_string_lossy().into_owned();
        self.helm(helm, &["pull", &place, "--version", version, "--destination", &destination])?;
        let pulled = directory.path().join(chart.file_name().unwrap_or_default());
        same("the pulled chart's digest", &digest(&read(&pulled)?), &digest(&read(chart)?))?;
        let rendered =
            helm.run(&["template".as_ref(), "testinium".as_ref(), pulled.as_os_str()])?.success()?;
        let image = format!("image: {}@{}", self.target.image(), self.layout.digest()?);
        let images: Vec<_> =
            rendered.lines().map(str::trim).filter(|line| line.starts_with("image: ")).collect();
        let plain = |line: &&str| line.replace('"', "") == image;
        if !images.is_empty() && images.iter().all(plain) {
            return Ok(());
        }
        Err(Error::Release(format!("the pulled chart should render {image}, not {images:?}")))
    }

    fn crane(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Tool::Crane.command(arguments)?;
        if self.target.is_plain {
            command.arg("--insecure");
        }
        tools::run(command)?.success()
    }

    fn helm(&self, helm: &Helm, arguments: &[&str]) -> Result<String, Error> {
        let plain = self.target.is_plain.then_some("--plain-http");
        let arguments: Vec<_> = arguments.iter().copied().chain(plain).collect();
        helm.run(&arguments).and_then(Output::success)
    }

    /// The files so far, as sha256sum lists them.
    fn checksums(&self) -> Result<String, Error> {
        let attempt = || format!("failed to list {}", self.directory.display());
        let entries = fs::read_dir(self.directory).map_err(Error::io(attempt()))?;
        let mut paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::io(attempt()))?;
        paths.sort();
        let mut text = String::new();
        for path in paths {
            let (digest, name) = (digest(&read(&path)?), path.file_name().unwrap_or_default());
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}  {}", digest.trim_start_matches("sha256:"), name.display());
        }
        Ok(text)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.directory.join(name);
        fs::write(&path, bytes).map_err(Error::io(format!("failed to write {}", path.display())))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::io(format!("failed to read {}", path.display())))
}

fn same(what: &str, found: &str, expected: &str) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::Release(format!("{what} is {found}, not {expected}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Places, assemble};

    const DOCKERFILE: &str = "FROM scratch\nARG TARGETARCH\nARG REVISION\nCOPY ${TARGETARCH} /program\n\
                              ENTRYPOINT [\"/program\"]\nLABEL revision=\"${REVISION}\"\n";

    /// An image of two small files.
    fn image(directory: &Path, revision: &str) -> (Origin, Layout) {
        let places = Places::within(directory);
        fs::create_dir_all(&places.context).expect("a folder");
        for architecture in ["amd64", "arm64"] {
            fs::write(places.context.join(architecture), architecture).expect("a file");
        }
        let origin = Origin {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: revision.to_owned(),
            created: "2026-01-02T03:04:05Z".to_owned(),
            source: String::new(),
        };
        let layout = assemble(DOCKERFILE, &places, &ARCHITECTURES, &origin).expect("it is made");
        (origin, layout)
    }

    const ARCHITECTURES: [Architecture; 2] = [Architecture::Amd64, Architecture::Arm64];

    #[test]
    fn a_release_comes_back_from_its_registry_and_another_in_its_place_is_noticed() {
        let directories = [(); 4].map(|()| tempfile::tempdir().expect("a directory"));
        let [home, one, other, files] = directories.each_ref().map(tempfile::TempDir::path);
        let helm = Helm::obtain(home).expect("Helm is there");
        let registry = Registry::start().expect("it starts");
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = Target { prefix: format!("{}/a/b", registry.address()), is_plain: true };
        let ((origin, layout), (_, changed)) = (image(one, "one"), image(other, "other"));
        let release = Release {
            repository: &repository,
            layout: &layout,
            origin: &origin,
            architectures: &ARCHITECTURES,
            directory: files,
            target,
        };
        let chart = release.write_files(&helm).expect("they are written");
        release.push(&helm, &chart).expect("it is pushed");
        release.verify(&helm, &chart).expect("it comes back");

        // The list is of the binary of this architecture, and of what is linked alone.
        let sbom = read(&files.join(format!("testinium-operator-{}-arm64.cdx.json", origin.version)));
        let sbom: serde_json::Value =
            serde_json::from_slice(&sbom.expect("it is there")).expect("it is JSON");
        let hash = &sbom["metadata"]["component"]["hashes"][0]["content"];
        assert_eq!(format!("sha256:{}", hash.as_str().expect("it has one")), digest(b"arm64"));
        let names = sbom["components"].as_array().expect("it has some").iter();
        let names: Vec<_> = names.filter_map(|component| component["name"].as_str()).collect();
        for (name, linked) in
            [("rustls", true), ("ring", true), ("serde_derive", false), ("criterion", false)]
        {
            assert_eq!(names.contains(&name), linked, "{name}: {names:?}");
        }

        let other = Release { layout: &changed, ..release.clone() };
        other.push(&helm, &chart).expect("it is pushed");
        let error = release.verify(&helm, &chart).expect_err("it is another");
        assert!(error.to_string().starts_with("the image's digest in the registry is"), "{error}");
        fs::write(&chart, "changed").expect("it is ours");
        let error = other.verify(&helm, &chart).expect_err("it was changed");
        assert!(error.to_string().contains("sha256sum"), "{error}");
    }
}
