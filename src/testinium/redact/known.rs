//! The pieces of the secrets that were sent, in hash tables.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use secrecy::zeroize::Zeroize;

use super::printable::printable;
use super::views::Unit;

/// The length of a piece. A piece of a secret is a secret too: gateways like to quote the head of a token. A shorter
/// secret is looked for as a word of its own, since it would be found within other words.
const PIECE_BYTES: usize = 8;

/// The way in which a text is searched: its encoding says how many bytes of a secret eight characters of it can hold.
#[derive(Clone, Copy)]
pub(super) struct Search {
    table: usize,
    /// The shortest word that is looked for: among decoded letters, shorter ones come about by chance.
    word_bytes_min: usize,
}

pub(super) const PLAIN: Search = Search { table: 0, word_bytes_min: 1 };
/// The search in base64. Eight characters of it hold five whole bytes, wherever they begin.
pub(super) const BASE64: Search = Search { table: 1, word_bytes_min: 3 };
/// The search in hexadecimal digits. Eight of them hold three whole bytes, wherever they begin.
pub(super) const HEX: Search = Search { table: 2, word_bytes_min: 3 };

/// The lengths of the pieces in the tables.
const LENGTHS: [usize; 3] = [PIECE_BYTES, 5, 3];

/// The pieces of all secrets, folded.
pub(super) struct Known {
    tables: [Pieces; 3],
    words: Vec<Vec<u8>>,
}

/// Pieces of one length.
struct Pieces {
    length: usize,
    /// A piece is its bytes as a number, which is never 0: secrets have no such bytes. At least half are free.
    slots: Vec<u64>,
}

/// Two random numbers that keep the places of pieces unknown to a person who chooses the secret.
struct Keys(u64, u64);

// === impl Known ===

impl Known {
    pub(super) fn new<'a>(sent: impl Iterator<Item = &'a str>) -> Self {
        let (mut words, mut long): (Vec<_>, Vec<_>) =
            sent.map(folded_text).partition(|secret| secret.len() < PIECE_BYTES);
        words.retain(|word| word.iter().any(|byte| *byte != b' '));
        let tables = LENGTHS.map(|length| Pieces::new(length, &long));
        long.zeroize();
        words.sort_unstable();
        words.dedup();
        Self { tables, words }
    }

    /// Calls `hide` with every place of the text where a piece of a secret stands.
    pub(super) fn find(&self, units: &[Unit], search: Search, hide: &mut impl FnMut(usize, usize)) {
        let units = folded(units);
        let table = &self.tables[search.table];
        let mut piece = 0;
        for (at, unit) in units.iter().enumerate() {
            piece = table.next(piece, unit.byte);
            let begin = (at + 1).checked_sub(table.length);
            if let Some(begin) = begin.filter(|_| table.contains(piece)) {
                hide(units[begin].from(), unit.to());
            }
        }
        for word in self.words.iter().filter(|word| word.len() >= search.word_bytes_min) {
            for (at, found) in units.windows(word.len()).enumerate() {
                if found.iter().map(|unit| unit.byte).eq(word.iter().copied())
                    && is_word(&units, at, word.len())
                {
                    hide(found[0].from(), found[word.len() - 1].to());
                }
            }
        }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.tables.iter_mut().for_each(|table| table.slots.zeroize());
        self.words.zeroize();
    }
}

// === impl Pieces ===

impl Pieces {
    fn new(length: usize, secrets: &[Vec<u8>]) -> Self {
        let count: usize = secrets.iter().map(Vec::len).sum();
        let size = if count == 0 { 0 } else { (count * 2).next_power_of_two() };
        let mut pieces = Self { length, slots: vec![0; size] };
        for secret in secrets {
            let mut piece = 0;
            for (at, byte) in secret.iter().enumerate() {
                piece = pieces.next(piece, *byte);
                if at + 1 >= length {
                    let slot = pieces.slot(piece);
                    pieces.slots[slot] = piece;
                }
            }
        }
        pieces
    }

    /// The piece that ends with this byte, after the one that ended with the byte before.
    fn next(&self, piece: u64, byte: u8) -> u64 {
        let all = u64::MAX >> (64 - 8 * self.length);
        (piece << 8 | u64::from(byte)) & all
    }

    fn contains(&self, piece: u64) -> bool {
        piece != 0 && !self.slots.is_empty() && self.slots[self.slot(piece)] == piece
    }

    /// The slot where the piece is, or would be.
    fn slot(&self, piece: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = keys().hash(piece) & mask;
        while self.slots[slot] != 0 && self.slots[slot] != piece {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

// === impl Keys ===

impl Keys {
    fn hash(&self, piece: u64) -> usize {
        let product = u128::from(piece ^ self.0) * u128::from(self.1);
        (product as u64 ^ (product >> 64) as u64) as usize
    }
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let random = RandomState::new();
        Keys(random.hash_one(0), random.hash_one(1) | 1)
    })
}

/// A byte without the differences that quoting makes: letters are small, and all that a space may be turned into is a
/// space, also the plus of a form, and one space if there are several.
fn fold(byte: u8) -> u8 {
    match byte {
        0..=b' ' | b'+' | 0x7f => b' ',
        byte => byte.to_ascii_lowercase(),
    }
}

fn folded_text(text: &str) -> Vec<u8> {
    let mut folded: Vec<u8> = printable(text).bytes().map(fold).collect();
    folded.dedup_by(|next, last| (*next, *last) == (b' ', b' '));
    folded
}

fn folded(units: &[Unit]) -> Vec<Unit> {
    let mut folded: Vec<Unit> = units.iter().map(|unit| Unit { byte: fold(unit.byte), ..*unit }).collect();
    folded.dedup_by(|next, last| (next.byte, last.byte) == (b' ', b' '));
    folded
}

fn is_word(units: &[Unit], at: usize, len: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| units.get(before));
    let around = [before, units.get(at + len)];
    around.into_iter().flatten().all(|unit| !unit.byte.is_ascii_alphanumeric())
}
