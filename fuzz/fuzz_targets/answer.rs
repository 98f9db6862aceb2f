//! From the bytes of a reply to its verdict: `cargo +nightly fuzz run answer`.
#![no_main]

#[path = "../oracle.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::check(bytes));
