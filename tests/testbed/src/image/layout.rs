//! An OCI image layout: a folder that holds an image for each architecture, as registries know it.
//!
//! ```text
//! index.json -> the index (its digest names the release) -> a manifest for each architecture -> configuration, layers
//! ```
//!
//! Every arrow is a digest, and every file in `blobs` is named after its own.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tar::EntryType;

use super::architecture::Architecture;
use super::binaries::make_folder;
use super::digest::digest;
use super::dockerfile::Recipe;
use super::layer::{self, Layer};
use super::root::{PATH, Root};
use crate::Error;

/// A layout on disk.
#[derive(Debug)]
pub struct Layout {
    folder: PathBuf,
}

/// The index of a layout while its images are added.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    /// The time that everything in it says it was made.
    created: String,
    manifests: Vec<Value>,
    annotations: BTreeMap<String, String>,
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

// === impl Writer ===

impl Writer {
    /// Begins a layout in a folder, in the place of one that was there.
    pub fn begin(folder: &Path, created: &str) -> Result<Self, Error> {
        if folder.exists() {
            fs::remove_dir_all(folder)
                .map_err(Error::io(format!("failed to remove {}", folder.display())))?;
        }
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(Error::io(format!("failed to make {}", blobs.display())))?;
        Ok(Self {
            folder: folder.to_owned(),
            created: created.to_owned(),
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
        })
    }

    /// Adds the image of an architecture.
    pub fn add(
        &mut self,
        architecture: Architecture,
        recipe: &Recipe,
        layers: &[Layer],
    ) -> Result<(), Error> {
        let annotations = self.with_time(&recipe.labels);
        let history = recipe.copies.iter().map(|copied| {
            json!({
                "created": self.created, "created_by": format!("COPY {} {}", copied.source, copied.target),
            })
        });
        let config = json!({
            "created": self.created, "architecture": architecture.name(), "os": "linux",
            "config": {
                "User": recipe.user, "Env": [format!("PATH={PATH}")], "Entrypoint": recipe.entrypoint,
                "Cmd": recipe.cmd, "WorkingDir": "/", "Labels": annotations,
            },
            "rootfs": {
                "type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>(),
            },
            "history": history.collect::<Vec<_>>(),
        });
        let config = self.put(CONFIG, config.to_string().as_bytes())?;
        let layers =
            layers.iter().map(|layer| self.put(LAYER, &layer.bytes)).collect::<Result<Vec<_>, _>>()?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
            "annotations": annotations,
        });
        let mut manifest = self.put(MANIFEST, manifest.to_string().as_bytes())?;
        manifest["platform"] = json!({"architecture": architecture.name(), "os": "linux"});
        self.manifests.push(manifest);
        self.annotations = annotations;
        Ok(())
    }

    /// Writes the index under a name, such as a version.
    pub fn finish(self, name: &str) -> Result<Layout, Error> {
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests, "annotations": self.annotations,
        });
        let mut index = self.put(INDEX, index.to_string().as_bytes())?;
        index["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        let top = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [index]});
        write(&self.folder.join("index.json"), top.to_string().as_bytes())?;
        write(
            &self.folder.join("oci-layout"),
            json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes(),
        )?;
        Ok(Layout { folder: self.folder })
    }

    fn with_time(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = labels.clone();
        labels.insert("org.opencontainers.image.created".to_owned(), self.created.clone());
        labels
    }

    /// Writes a blob; returns the descriptor that points to it.
    fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Value, Error> {
        let digest = digest(bytes);
        write(&blob(&self.folder, &digest), bytes)?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }
}

// === impl Layout ===

impl Layout {
    /// The layout in a folder, such as one that came back from a registry.
    pub fn open(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The digest of the index, by which a cluster fetches the image.
    pub fn digest(&self) -> Result<String, Error> {
        let top = json_file(&self.folder.join("index.json"))?;
        text(&top["manifests"][0]["digest"])
    }

    /// The digest of each architecture's manifest.
    pub fn manifests(&self) -> Result<BTreeMap<String, String>, Error> {
        let index = self.read_json(&self.digest()?)?;
        let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
        let digests = manifests
            .iter()
            .map(|manifest| Ok((text(&manifest["platform"]["architecture"])?, text(&manifest["digest"])?)));
        digests.collect()
    }

    /// The content of a blob, which is what its name says.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = blob(&self.folder, name);
        let bytes = fs::read(&path).map_err(Error::io(format!("failed to read {}", path.display())))?;
        if digest(&bytes) == name {
            Ok(bytes)
        } else {
            Err(Error::Image(format!("{} is not what its name says", path.display())))
        }
    }

    /// The digests of all blobs.
    pub fn blobs(&self) -> Result<Vec<String>, Error> {
        let folder = self.folder.join("blobs/sha256");
        let attempt = || format!("failed to list {}", folder.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::io(attempt()))? {
            let name = entry.map_err(Error::io(attempt()))?.file_name();
            found.push(format!("sha256:{}", name.display()));
        }
        found.sort();
        Ok(found)
    }

    /// The whole layout as one archive, which engines load. The same layout makes the same bytes.
    pub fn archive(&self) -> Result<Vec<u8>, Error> {
        let blobs = self.blobs()?;
        let names = ["oci-layout".to_owned(), "index.json".to_owned()].into_iter();
        let names = names.chain(blobs.iter().map(|digest| format!("blobs/{}", digest.replace(':', "/"))));
        let mut archive = tar::Builder::new(Vec::new());
        for name in names {
            let path = self.folder.join(&name);
            let attempt = || format!("failed to archive {}", path.display());
            let bytes = fs::read(&path).map_err(Error::io(attempt()))?;
            let mut header = layer::header(EntryType::Regular, bytes.len() as u64, 0o644);
            archive.append_data(&mut header, &name, &bytes[..]).map_err(Error::io(attempt()))?;
        }
        archive.into_inner().map_err(Error::io("failed to archive the layout"))
    }

    /// Unpacks the image of an architecture, as a container runtime does.
    pub fn unpack(&self, architecture: Architecture, folder: &Path) -> Result<Root, Error> {
        let manifests = self.manifests()?;
        let manifest = manifests.get(architecture.name());
        let manifest =
            manifest.ok_or_else(|| Error::Image(format!("there is no image for {}", architecture.name())))?;
        let manifest = self.read_json(manifest)?;
        let config = self.read_json(&text(&manifest["config"]["digest"])?)?;
        if folder.exists() {
            fs::remove_dir_all(folder)
                .map_err(Error::io(format!("failed to remove {}", folder.display())))?;
        }
        make_folder(folder)?;
        for layer in manifest["layers"].as_array().into_iter().flatten() {
            let layer = self.read(&text(&layer["digest"])?)?;
            let mut archive = tar::Archive::new(GzDecoder::new(io::Cursor::new(layer)));
            archive.set_preserve_permissions(true);
            archive
                .unpack(folder)
                .map_err(Error::io(format!("failed to unpack a layer into {}", folder.display())))?;
        }
        Root::new(folder, &config["config"])
    }

    fn read_json(&self, digest: &str) -> Result<Value, Error> {
        parsed(&self.read(digest)?, digest)
    }
}

fn blob(folder: &Path, digest: &str) -> PathBuf {
    folder.join("blobs").join(digest.replace(':', "/"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(Error::io(format!("failed to write {}", path.display())))
}

fn json_file(path: &Path) -> Result<Value, Error> {
    let bytes = fs::read(path).map_err(Error::io(format!("failed to read {}", path.display())))?;
    parsed(&bytes, &path.display().to_string())
}

fn parsed(bytes: &[u8], what: &str) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Json { what: what.to_owned(), source })
}

fn text(value: &Value) -> Result<String, Error> {
    value.as_str().map(str::to_owned).ok_or_else(|| Error::Image("the layout lacks a digest".to_owned()))
}
