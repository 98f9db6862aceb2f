//! The chart as it is released: it names the image by the digest that was pushed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::helm::Helm;
use crate::process::temporary_directory;

/// Packages the chart of a repository into a directory, for an image in a registry; returns where the package is.
pub fn package(
    repository: &Path,
    helm: &Helm,
    directory: &Path,
    image: (&str, &str),
    version: &str,
) -> Result<PathBuf, Error> {
    let copy = temporary_directory("testinium-chart-")?;
    let chart = copy.path().join(NAME);
    copy_folder(&repository.join("deploy/chart"), &chart)?;
    let path = chart.join("values.yaml");
    let values =
        fs::read_to_string(&path).map_err(Error::io(format!("failed to read {}", path.display())))?;
    let values = named(&values, image).map_err(Error::Release)?;
    fs::write(&path, values).map_err(Error::io(format!("failed to write {}", path.display())))?;
    helm.run(&["package".as_ref(), chart.as_os_str(), "--destination".as_ref(), directory.as_os_str()])?
        .success()?;
    Ok(directory.join(format!("{NAME}-{version}.tgz")))
}

/// The chart's name.
pub const NAME: &str = "testinium-operator";

/// The values with the repository and the digest of an image, in the place of those that a checkout has.
fn named(values: &str, (repository, digest): (&str, &str)) -> Result<String, String> {
    let mut text = values.to_owned();
    for (line, value) in [("  repository: testinium-operator\n", repository), ("  digest: \"\"\n", digest)] {
        if text.matches(line).count() != 1 {
            return Err(format!("values.yaml has not one line {line:?}, which a release changes"));
        }
        let (name, _) = line.split_once(':').unwrap_or_default();
        text = text.replace(line, &format!("{name}: {value}\n"));
    }
    Ok(text)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    let attempt = || format!("failed to copy {}", from.display());
    fs::create_dir(to).map_err(Error::io(attempt()))?;
    for entry in fs::read_dir(from).map_err(Error::io(attempt()))? {
        let path = entry.map_err(Error::io(attempt()))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(Error::io(attempt()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_named_in_the_values_and_nothing_else_changes() {
        let values = "image:\n  # -- Where.\n  repository: testinium-operator\n  tag: \"\"\n  digest: \"\"\n";
        let expected = "image:\n  # -- Where.\n  repository: r.io/a/b\n  tag: \"\"\n  digest: sha256:0f\n";
        assert_eq!(named(values, ("r.io/a/b", "sha256:0f")).expect("it has both lines"), expected);
        for other in ["image:\n", "  repository: other\n  digest: \"\"\n"] {
            assert!(named(other, ("r", "d")).is_err(), "{other}");
        }
    }
}
