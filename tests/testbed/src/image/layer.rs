//! One layer of an image: an archive with one file and the folders above it.
//!
//! The same file makes the same bytes at any time: nothing of it but its content, its path and whether it can be run is
//! in the archive.

use std::io::{self, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::digest::digest;

/// A layer, compressed.
#[derive(Debug)]
pub struct Layer {
    pub bytes: Vec<u8>,
    /// The digest of the archive before it was compressed, by which an image's configuration knows it.
    pub diff_id: String,
}

/// Makes a layer of a file with this absolute path.
pub fn make(path: &str, content: &[u8], is_executable: bool) -> io::Result<Layer> {
    let path = path.trim_start_matches('/');
    let mut archive = Builder::new(Vec::new());
    let mut above: Vec<_> = Path::new(path).ancestors().skip(1).collect();
    above.reverse();
    for folder in above.into_iter().filter(|folder| !folder.as_os_str().is_empty()) {
        let name = format!("{}/", folder.display());
        archive.append_data(&mut header(EntryType::Directory, 0, 0o755), name, io::empty())?;
    }
    let mode = if is_executable { 0o755 } else { 0o644 };
    archive.append_data(&mut header(EntryType::Regular, content.len() as u64, mode), path, content)?;
    let archive = archive.into_inner()?;
    let mut compressed = GzBuilder::new().write(Vec::new(), Compression::default());
    compressed.write_all(&archive)?;
    Ok(Layer { bytes: compressed.finish()?, diff_id: digest(&archive) })
}

/// Of root's, and as old as can be.
pub(super) fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn a_file_and_its_folders_are_in_it_and_nothing_of_this_machine() {
        let layer = make("/etc/ssl/a.crt", b"text", false).expect("it is made");
        let mut archive = Vec::new();
        GzDecoder::new(&layer.bytes[..]).read_to_end(&mut archive).expect("it is gzip");
        assert_eq!(digest(&archive), layer.diff_id);
        let mut archive = tar::Archive::new(&archive[..]);
        let mut found = Vec::new();
        for entry in archive.entries().expect("it is an archive") {
            let mut entry = entry.expect("it is an entry");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("it is text");
            let (path, header) = (entry.path().expect("it has a path").display().to_string(), entry.header());
            let number = |number: io::Result<u64>| number.expect("it is a number");
            assert_eq!([number(header.mtime()), number(header.uid()), number(header.gid())], [0, 0, 0]);
            found.push((path, header.mode().expect("it has a mode"), text));
        }
        let expected = [("etc/", 0o755, ""), ("etc/ssl/", 0o755, ""), ("etc/ssl/a.crt", 0o644, "text")];
        assert_eq!(found, expected.map(|(path, mode, text)| (path.to_owned(), mode, text.to_owned())));
        let again = make("/etc/ssl/a.crt", b"text", false).expect("it is made");
        assert_eq!(again.bytes, layer.bytes);
        assert_ne!(make("/etc/ssl/a.crt", b"text", true).expect("it is made").bytes, layer.bytes);
    }
}
