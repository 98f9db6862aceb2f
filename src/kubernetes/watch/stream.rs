//! The lines of a watch, as they come.

use std::ops::Range;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::timeout_at;

/// A watch that the API server has opened.
pub(super) struct Stream {
    body: Body,
    lines: Lines,
}

/// A line of a watch is one object, and the API server takes none above 3 MiB.
const LINE_BYTES_MAX: usize = 8 << 20;

// === impl Stream ===

impl Stream {
    pub(super) fn new(body: Body) -> Self {
        Self { body, lines: Lines::default() }
    }

    /// The next line, which must come within `limit`; none at the end.
    pub(super) async fn line(&mut self, limit: Duration) -> Result<Option<&[u8]>, String> {
        let limit = Instant::now() + limit;
        while !self.lines.advance() {
            if self.lines.len() > LINE_BYTES_MAX {
                return Err("a watch sent a line without end".to_owned());
            }
            match timeout_at(limit.into(), self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.lines.push(&data);
                    }
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(format!("a watch broke: {error}")),
                Err(_) => return Err("a watch went silent".to_owned()),
            }
        }
        Ok(Some(self.lines.line()))
    }
}

/// The lines of a stream, as they become whole.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    /// The place of the present line.
    line: Range<usize>,
    /// The number of bytes of earlier lines. They are let go when more bytes arrive, not line by line.
    taken: usize,
    /// The place up to which there is no end of the next line.
    searched: usize,
}

impl Lines {
    fn push(&mut self, data: &[u8]) {
        self.buffer.drain(..self.taken);
        self.searched -= self.taken;
        (self.line, self.taken) = (0..0, 0);
        self.buffer.extend_from_slice(data);
    }

    /// Goes to the next line, if it is whole.
    fn advance(&mut self) -> bool {
        match self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            Some(length) => {
                let end = self.searched + length;
                self.line = self.taken..end;
                (self.taken, self.searched) = (end + 1, end + 1);
                true
            }
            None => {
                self.searched = self.buffer.len();
                false
            }
        }
    }

    fn line(&self) -> &[u8] {
        &self.buffer[self.line.clone()]
    }

    /// The number of bytes that are no whole line yet.
    fn len(&self) -> usize {
        self.buffer.len() - self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let whole = b"{\"a\":1}\n{\"b\":2}\n\n{\"c\":3}\n";
        for size in 1..=whole.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in whole.chunks(size) {
                lines.push(piece);
                while lines.advance() {
                    found.push(String::from_utf8_lossy(lines.line()).into_owned());
                }
            }
            assert_eq!(found, ["{\"a\":1}", "{\"b\":2}", "", "{\"c\":3}"], "in pieces of {size}");
            assert_eq!(lines.len(), 0);
        }
    }
}
