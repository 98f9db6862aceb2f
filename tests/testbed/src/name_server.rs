//! A name server on this machine that misbehaves by name.
//!
//! It answers questions for A with 127.0.0.1, and questions for AAAA as [`Fault`] says. It knows no other types, and
//! speaks UDP alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What becomes of a question for AAAA. The names are what [`Fault::host`] says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// There is no such record, as there should not be.
    None,
    /// The server says that it failed.
    Servfail,
    /// The server says that there is no such name, of which it has an A record.
    Nxdomain,
    /// No answer comes.
    Silent,
}

/// A server that answers until it is dropped.
#[derive(Debug)]
pub struct NameServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The address that it listens on: of this machine, and no other server's.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 53, 1));

/// The port that a file of name servers can't change. Root may listen on it.
const PORT: u16 = 53;

const A: u16 = 1;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;
/// The length of a message's first part.
const HEADER: usize = 12;

// === impl Fault ===

impl Fault {
    pub const ALL: [Fault; 4] = [Fault::None, Fault::Servfail, Fault::Nxdomain, Fault::Silent];

    /// The first part of the host's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "well",
            Self::Servfail => "servfail",
            Self::Nxdomain => "nxdomain",
            Self::Silent => "silent",
        }
    }

    /// A host whose AAAA has this fault.
    pub fn host(self) -> String {
        format!("{}.testinium.test", self.name())
    }
}

// === impl NameServer ===

impl NameServer {
    pub fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind((ADDRESS, PORT))?;
        // So often it looks whether it is to stop.
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                // Nothing has come, or the one who asked is gone.
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(answer) = answer(&buffer[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it has been told already.
            let _ = thread.join();
        }
    }
}

/// The answer to a message, if there is any.
fn answer(message: &[u8]) -> Option<Vec<u8>> {
    let (id, question) = (message.get(..2)?, message.get(HEADER..)?);
    let length = usize::from(*question.first()?);
    let name = question.get(1..=length)?;
    // The name ends with an empty part; then come the type and the class.
    let end = question.iter().position(|byte| *byte == 0)? + 5;
    let question = question.get(..end)?;
    let kind = u16::from_be_bytes([*question.get(end - 4)?, *question.get(end - 3)?]);
    let fault = Fault::ALL.into_iter().find(|fault| name.eq_ignore_ascii_case(fault.name().as_bytes()));
    let (code, has_address) = match (kind, fault) {
        (A, Some(_)) => (0, true),
        (AAAA, Some(Fault::Silent)) => return None,
        (AAAA, Some(Fault::Servfail)) => (2, false),
        (AAAA, Some(Fault::Nxdomain)) | (_, None) => (3, false),
        (_, Some(_)) => (0, false),
    };
    // An answer of the server itself, which also asks others.
    let mut answer =
        [id, &[0x85, 0x80 | code], &[0, 1, 0, u8::from(has_address), 0, 0, 0, 0], question].concat();
    if has_address {
        // The name of the question, again.
        answer.extend([0xc0, HEADER as u8]);
        answer.extend(A.to_be_bytes());
        answer.extend(INTERNET.to_be_bytes());
        // For five seconds, four bytes.
        answer.extend([0, 0, 0, 5, 0, 4]);
        answer.extend(Ipv4Addr::LOCALHOST.octets());
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, kind: u16) -> Option<Vec<u8>> {
        let mut message = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for part in host.split('.') {
            message.push(u8::try_from(part.len()).expect("it is short"));
            message.extend(part.as_bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend(INTERNET.to_be_bytes());
        answer(&message)
    }

    #[test]
    fn a_is_answered_and_aaaa_as_the_name_says() {
        for fault in Fault::ALL {
            let answer = asked(&fault.host(), A).expect("there is one");
            assert_eq!((answer[3] & 15, answer[7]), (0, 1), "{fault:?}");
            assert!(answer.starts_with(&[7, 9]) && answer.ends_with(&[127, 0, 0, 1]), "{answer:?}");
            let code = asked(&fault.host(), AAAA).map(|answer| (answer[3] & 15, answer[7]));
            let expected = match fault {
                Fault::None => Some((0, 0)),
                Fault::Servfail => Some((2, 0)),
                Fault::Nxdomain => Some((3, 0)),
                Fault::Silent => None,
            };
            assert_eq!(code, expected, "{fault:?}");
        }
        assert_eq!(asked("other.test", A).map(|answer| answer[3] & 15), Some(3));
        assert_eq!(answer(&[1, 2, 3]), None);
    }
}
