//! The readings of a text: itself, and the meaning of its escapes, its base64 and its hexadecimal digits.

/// One byte of a reading, and the part of the text that stands for it.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) byte: u8,
    pub(super) from: u32,
    pub(super) to: u32,
}

// === impl Unit ===

impl Unit {
    /// A byte that stands for whole characters, also where it is a part of one.
    fn new(byte: u8, from: usize, to: usize) -> Self {
        // Texts are cut to some hundred bytes before.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { byte, from: place(from), to: place(to) }
    }

    pub(super) fn from(self) -> usize {
        self.from as usize
    }

    pub(super) fn to(self) -> usize {
        self.to as usize
    }
}

/// The text as it stands.
pub(super) fn units(text: &str) -> Vec<Unit> {
    let of_char = |(at, c): (usize, char)| {
        let end = at + c.len_utf8();
        text.as_bytes()[at..end].iter().map(move |byte| Unit::new(*byte, at, end))
    };
    text.char_indices().flat_map(of_char).collect()
}

/// The text with its escapes read that begin with one of these signs: those of URLs and forms, JSON and programming
/// languages, HTML and XML. None if there are none. The plus of a form is left alone, because it is also a character of
/// base64.
pub(super) fn unescaped(units: &[Unit], signs: &[u8]) -> Option<Vec<Unit>> {
    if !units.iter().any(|unit| signs.contains(&unit.byte)) {
        return None;
    }
    let bytes: Vec<u8> = units.iter().map(|unit| unit.byte).collect();
    let mut read = Vec::with_capacity(units.len());
    let mut at = 0;
    let mut found = false;
    while at < units.len() {
        let meant = if signs.contains(&bytes[at]) { escape(&bytes[at..]) } else { None };
        let Some((meant, len)) = meant else {
            read.push(units[at]);
            at += 1;
            continue;
        };
        let (from, to) = (units[at].from(), units[at + len - 1].to());
        match meant {
            Meant::Byte(byte) => read.push(Unit::new(byte, from, to)),
            Meant::Char(c) => {
                let mut buffer = [0; 4];
                read.extend(c.encode_utf8(&mut buffer).bytes().map(|byte| Unit::new(byte, from, to)));
            }
        }
        (at, found) = (at + len, true);
    }
    found.then_some(read)
}

enum Meant {
    Byte(u8),
    Char(char),
}

/// The meaning of the escape at the beginning of these bytes, and its length.
fn escape(bytes: &[u8]) -> Option<(Meant, usize)> {
    let byte = |digits: &[u8]| Some(Meant::Byte(u8::try_from(number(digits, 16)?).ok()?));
    match bytes {
        [b'%', b'u' | b'U', rest @ ..] => utf16(rest, b'%').map(|(c, len)| (Meant::Char(c), len + 2)),
        [b'%', rest @ ..] => Some((byte(rest.get(..2)?)?, 3)),
        [b'\\', b'x', rest @ ..] => Some((byte(rest.get(..2)?)?, 4)),
        [b'\\', b'u', b'{', rest @ ..] => {
            let end = rest.iter().take(7).position(|byte| *byte == b'}')?;
            Some((Meant::Char(char::from_u32(number(&rest[..end], 16)?)?), end + 4))
        }
        [b'\\', b'u', rest @ ..] => utf16(rest, b'\\').map(|(c, len)| (Meant::Char(c), len + 2)),
        [b'\\', c @ (b'"' | b'\'' | b'\\' | b'/'), ..] => Some((Meant::Byte(*c), 2)),
        [b'\\', b'b' | b'f' | b'n' | b'r' | b't', ..] => Some((Meant::Byte(b' '), 2)),
        [b'&', rest @ ..] => {
            let end = rest.iter().take(ENTITY_BYTES_MAX).position(|byte| *byte == b';')?;
            Some((Meant::Char(entity(&rest[..end])?), end + 2))
        }
        _ => None,
    }
}

/// A character in UTF-16: four digits, or twice four with the same escape between them.
fn utf16(bytes: &[u8], sign: u8) -> Option<(char, usize)> {
    let first = number(bytes.get(..4)?, 16)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, 4));
    }
    match bytes.get(4..10)? {
        [s, b'u' | b'U', second @ ..] if *s == sign => {
            let units = [u16::try_from(first).ok()?, u16::try_from(number(second, 16)?).ok()?];
            Some((char::decode_utf16(units).next()?.ok()?, 10))
        }
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    // The parser would take a sign for a number's.
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(text, radix).ok()
}

const ENTITY_BYTES_MAX: usize = 10;

fn entity(name: &[u8]) -> Option<char> {
    match name {
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16)?),
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?),
        name => {
            ENTITIES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name)).map(|(_, c)| *c)
        }
    }
}

/// The named characters of ASCII.
const ENTITIES: &[(&str, char)] = &[
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("excl", '!'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("equals", '='),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("hat", '^'),
    ("lowbar", '_'),
    ("grave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
];

/// Calls `each` with the meaning of the text as base64, of both alphabets, with and without padding, and wherever in a
/// group of four it begins. Line breaks and spaces don't count.
pub(super) fn base64(units: &[Unit], mut each: impl FnMut(&[Unit])) {
    let mut decoded = Vec::new();
    runs(
        units,
        sextet,
        |byte| byte == b' ',
        |run| {
            for offset in [0, 2, 4, 6] {
                decoded.clear();
                let mut bit = offset;
                while bit + 8 <= run.len() * 6 {
                    let (first, last) = (bit / 6, (bit + 7) / 6);
                    let two = u16::from(run[first].byte) << 6 | u16::from(run[first + 1].byte);
                    let byte = match bit % 6 {
                        0 => two >> 4,
                        2 => two >> 2,
                        _ => two,
                    };
                    decoded.push(Unit::new((byte & 0xff) as u8, run[first].from(), run[last].to()));
                    bit += 8;
                }
                each(&decoded);
            }
        },
    );
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Calls `each` with the meaning of the text as hexadecimal digits, wherever in a pair it begins. Spaces, colons and
/// dashes between them don't count.
pub(super) fn hex(units: &[Unit], mut each: impl FnMut(&[Unit])) {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::new();
    runs(
        units,
        digit,
        |byte| matches!(byte, b' ' | b':' | b'-'),
        |run| {
            for offset in [0, 1] {
                decoded.clear();
                let pairs = run[offset.min(run.len())..].chunks_exact(2);
                decoded.extend(
                    pairs.map(|pair| {
                        Unit::new(pair[0].byte << 4 | pair[1].byte, pair[0].from(), pair[1].to())
                    }),
                );
                each(&decoded);
            }
        },
    );
}

/// The shortest row of digits that is read: fewer hold less than the shortest word that is looked for.
const RUN_MIN: usize = 4;

/// Calls `each` with every longest row of digits, by their values.
fn runs(
    units: &[Unit],
    digit: impl Fn(u8) -> Option<u8>,
    is_skipped: impl Fn(u8) -> bool,
    mut each: impl FnMut(&[Unit]),
) {
    let mut run = Vec::with_capacity(units.len());
    for unit in units {
        match digit(unit.byte) {
            Some(value) => run.push(Unit { byte: value, ..*unit }),
            None if is_skipped(unit.byte) => {}
            None => {
                if run.len() >= RUN_MIN {
                    each(&run);
                }
                run.clear();
            }
        }
    }
    if run.len() >= RUN_MIN {
        each(&run);
    }
}
