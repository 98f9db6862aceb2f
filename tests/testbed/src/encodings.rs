//! The ways in which programs quote a text: in logs, in JSON, in pages, in headers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// A way to write a text.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    pub name: &'static str,
    pub encode: fn(&str) -> String,
}

/// Those that are common.
pub const ENCODINGS: &[Encoding] = &[
    Encoding { name: "plain", encode: str::to_owned },
    Encoding { name: "capitals", encode: str::to_uppercase },
    Encoding { name: "small letters", encode: str::to_lowercase },
    Encoding { name: "base64", encode: |text| STANDARD.encode(text) },
    Encoding { name: "base64 behind a byte", encode: |text| STANDARD.encode(format!(":{text}")) },
    Encoding { name: "base64 behind two bytes", encode: |text| STANDARD_NO_PAD.encode(format!("a:{text}")) },
    Encoding { name: "base64 for URLs", encode: |text| URL_SAFE.encode(text) },
    Encoding { name: "base64 for URLs, bare", encode: |text| URL_SAFE_NO_PAD.encode(text) },
    Encoding { name: "form", encode: |text| percent(text, false, true, "%").replace("%20", "+") },
    Encoding { name: "percent", encode: |text| percent(text, false, true, "%") },
    Encoding { name: "percent, small letters", encode: |text| percent(text, false, false, "%") },
    Encoding { name: "percent for every byte", encode: |text| percent(text, true, true, "%") },
    Encoding { name: "percent twice", encode: |text| percent(text, true, true, "%25") },
    Encoding { name: "hexadecimal escapes", encode: |text| percent(text, true, false, "\\x") },
    Encoding { name: "JSON", encode: |text| serde_json::Value::from(text).to_string() },
    Encoding { name: "JSON for every character", encode: |text| utf16(text, "\\u") },
    Encoding { name: "JSON in JSON", encode: |text| utf16(text, "\\\\u") },
    Encoding { name: "hex", encode: |text| percent(text, true, false, "") },
    Encoding { name: "hex in capitals", encode: |text| percent(text, true, true, "") },
    Encoding { name: "HTML", encode: html },
    Encoding {
        name: "HTML for every character",
        encode: |text| entities(text, |c| format!("&#{};", u32::from(c))),
    },
    Encoding { name: "HTML in hex", encode: |text| entities(text, |c| format!("&#x{:x};", u32::from(c))) },
];

fn percent(text: &str, every: bool, capitals: bool, sign: &str) -> String {
    let one = |byte: u8| match char::from(byte) {
        c if !every && (c.is_ascii_alphanumeric() || "-._*".contains(c)) => c.to_string(),
        _ if capitals => format!("{sign}{byte:02X}"),
        _ => format!("{sign}{byte:02x}"),
    };
    text.bytes().map(one).collect()
}

fn utf16(text: &str, sign: &str) -> String {
    text.encode_utf16().map(|unit| format!("{sign}{unit:04x}")).collect()
}

fn html(text: &str) -> String {
    [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&#39;")]
        .iter()
        .fold(text.to_owned(), |text, (c, entity)| text.replace(c, entity))
}

fn entities(text: &str, entity: impl Fn(char) -> String) -> String {
    text.chars().map(entity).collect()
}
