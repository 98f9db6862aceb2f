//! Tests that no piece of a secret is shown, in any encoding, and that all else is.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

#[test]
fn texts_are_made_fit_to_be_shown() {
    let token = "eyJhbGciOiJIUzI1NiJ9.payload.signature";
    let long = "ş".repeat(100);
    let quoted_late = format!("{}{token}", "x".repeat(120));
    for (name, text, expected) in [
        ("plain", "plan 614 is not running", Some("plan 614 is not running")),
        ("nothing", "", None),
        ("blank", " \t\r\n", None),
        ("line breaks", "a\r\n\tb", Some("a b")),
        ("escapes", "\u{1b}[31mred\u{7}\u{9b}0m", Some("[31mred0m")),
        ("directions", "\u{202e}gnitset\u{2066}\u{200f}", Some("gnitset")),
        ("zero width", "not\u{200b}\u{feff} running", Some("not running")),
        ("line separator", "a\u{2028}b", Some("a b")),
        ("cut at a character", long.as_str(), Some(&long[..128])),
        ("token", "bad token eyJhbGciOiJIUzI1NiJ9.payload.signature!", Some("bad token [redacted]!")),
        ("head of a token", "bad token 'eyJhbGciOi...'", Some("bad token '[redacted]...'")),
        ("token with a control", "eyJhbGci\u{0}OiJIUzI1NiJ9.pay", Some("[redacted]")),
        ("token in small letters", "eyjhbgcioijiuzi1nij9.pay", Some("[redacted]")),
        ("token over the cut", quoted_late.as_str(), Some(&format!("{}[redacte", "x".repeat(120)))),
        ("short secret", "user qa, password s3c!", Some("user [redacted], password [redacted]!")),
        ("short secret in quotes", "user “qa”", Some("user “[redacted]”")),
        ("short secret in a word", "equality of aqay", Some("equality of aqay")),
        ("short secret in base64", "dXNlcjogczNjIQ==", Some("dXNlcjog[redacted]IQ==")),
        ("escapes of nobody's", "100 % of \\d &amp; %zz", Some("100 % of \\d &amp; %zz")),
    ] {
        let secrets = Secrets::new([token, "qa", "s3c", ""]);
        assert_eq!(secrets.clean(text).as_deref(), expected, "{name}");
    }
}

/// The secret with every byte written by `escape`, or only those that need it.
fn escaped(secret: &str, all: bool, escape: impl Fn(u8) -> String) -> String {
    let one = |byte: u8| {
        if all || !(byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte)) {
            escape(byte)
        } else {
            char::from(byte).to_string()
        }
    };
    secret.bytes().map(one).collect()
}

/// The forms that servers give to a text that they quote, by the name of the encoding.
fn encodings(secret: &str) -> Vec<(String, String)> {
    let mut all = vec![("plain".to_owned(), secret.to_owned())];
    let mut add = |name: &str, text: String| all.push((name.to_owned(), text));
    for every in [false, true] {
        add("percent", escaped(secret, every, |byte| format!("%{byte:02X}")));
        add("percent, small", escaped(secret, every, |byte| format!("%{byte:02x}")));
        add("percent twice", escaped(secret, every, |byte| format!("%25{byte:02X}")));
        add("form", escaped(secret, every, |byte| format!("%{byte:02X}")).replace("%20", "+"));
        add("hexadecimal escapes", escaped(secret, every, |byte| format!("\\x{byte:02x}")));
    }
    let chars = |escape: fn(char) -> String| secret.chars().map(escape).collect::<String>();
    let utf16 = |prefix: &str| secret.encode_utf16().map(|unit| format!("{prefix}{unit:04x}")).collect();
    add("JSON", utf16("\\u"));
    add("JSON in JSON", utf16("\\\\u"));
    add("escape of old scripts", utf16("%u"));
    add("JSON, what must be", serde_json::to_string(secret).expect("a text is JSON"));
    add("Rust", secret.escape_default().collect());
    add("Unicode in braces", chars(|c| format!("\\u{{{:x}}}", u32::from(c))));
    add("HTML, decimal", chars(|c| format!("&#{};", u32::from(c))));
    add("HTML, hexadecimal", chars(|c| format!("&#x{:X};", u32::from(c))));
    let named =
        secret.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('\'', "&#39;");
    add("HTML, what must be", named);
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    add("hex, capitals", hex.to_uppercase());
    add("hex with colons", secret.bytes().map(|byte| format!("{byte:02x}:")).collect());
    add("hex", hex);
    for (name, engine) in [
        ("base64", &STANDARD),
        ("base64, bare", &STANDARD_NO_PAD),
        ("base64 for URLs", &URL_SAFE),
        ("base64 for URLs, bare", &URL_SAFE_NO_PAD),
    ] {
        for before in ["", "a", "ab"] {
            let text = engine.encode(format!("{before}{secret}"));
            add(&format!("{name} in a URL"), escaped(&text, false, |byte| format!("%{byte:02X}")));
            add(&format!("{name} behind {before:?}"), text);
        }
    }
    all
}

/// Eight characters in a row that both texts have, but for letters' case.
fn shared_piece<'a>(shown: &str, encoded: &'a str) -> Option<&'a str> {
    let shown = shown.to_ascii_lowercase();
    let ends = encoded.char_indices().skip(8).map(|(at, _)| at).chain([encoded.len()]);
    let pieces = encoded.char_indices().zip(ends).map(|((from, _), to)| &encoded[from..to]);
    pieces
        .filter(|piece| piece.chars().count() >= 8)
        .find(|piece| shown.contains(&piece.to_ascii_lowercase()))
}

/// The piece that is left of a secret if a server says it, with words around that hold none of its pieces.
fn left_of(secrets: &Secrets<'_>, encoded: &str) -> Option<String> {
    [format!("<{encoded}>"), encoded.to_owned(), format!("said: {encoded}, that is no good")]
        .iter()
        .filter_map(|text| secrets.clean(text))
        .find_map(|shown| shared_piece(&shown, encoded).map(|piece| format!("{piece:?} in {shown:?}")))
}

const SECRETS: [&str; 5] = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJxYSJ9.c2lnbmF0dXJl",
    "pa ss+wörd&5ecret\"<>'%",
    "tok-0123456789abcdef",
    "0123456789",
    "Pr\\xfc\\u0041fung/?=%20%41",
];

#[test]
fn no_piece_is_shown_in_any_encoding() {
    for secret in SECRETS {
        let secrets = Secrets::new([secret]);
        for (name, encoded) in encodings(secret) {
            assert_eq!(left_of(&secrets, &encoded), None, "{name} of {secret:?}: {encoded}");
        }
    }
}

#[test]
fn no_piece_of_a_piece_is_shown_either() {
    for secret in SECRETS {
        let secrets = Secrets::new([secret]);
        for (name, encoded) in encodings(secret) {
            // A piece of these begins or ends within an escape, and so holds less of the secret.
            let whole = ["plain", "hex", "hex, capitals"].contains(&&*name) || name.starts_with("base64");
            if !whole || name.ends_with("in a URL") {
                continue;
            }
            // The group of four that the secret shares with what is before it, or with the padding, is not its own.
            let around = if name.starts_with("base64") { 4 } else { 0 };
            let chars: Vec<char> = encoded.chars().collect();
            for piece in chars[around..chars.len() - around].windows(8) {
                let piece: String = piece.iter().collect();
                assert_eq!(left_of(&secrets, &piece), None, "{name} of {secret:?}: {piece}");
            }
        }
    }
}

#[test]
fn what_a_login_sent_is_known_in_its_header_and_its_body() {
    let (id, secret, password) = ("operator", "cl:ient 5ecret", "pa ss+wörd&5ecret");
    let pair = format!("{id}:{secret}");
    let header = STANDARD.encode(&pair);
    let secrets = Secrets::new([id, secret, password]).and_sent(pair.clone()).and_sent(header.clone());
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "password")
        .append_pair("password", password)
        .finish();
    let value = form.split_once("password=").expect("it is there").1;
    for sent in [&pair, &header, value] {
        for (name, encoded) in encodings(sent) {
            assert_eq!(left_of(&secrets, &encoded), None, "{name} of {sent:?}: {encoded}");
        }
    }
    // A body that is quoted in base64 holds the form.
    let quoted = STANDARD_NO_PAD.encode(&form);
    let of_value = &quoted[quoted.len() - value.len() * 4 / 3..];
    assert_eq!(shared_piece(&secrets.clean(&quoted).unwrap_or_default(), of_value), None);
    assert_eq!(secrets.clean(&format!("Basic {header}")).as_deref(), Some("Basic [redacted]"));
}

/// A word that is also a piece of a password is hidden, too: it can't be told from a quotation.
#[test]
fn a_word_of_a_password_is_hidden_everywhere() {
    let secrets = Secrets::new(["my-password-is-long"]);
    assert_eq!(secrets.clean("the password is wrong").as_deref(), Some("the [redacted] is wrong"));
    assert_eq!(secrets.clean("it is long").as_deref(), Some("it is long"));
}

#[test]
fn nothing_is_hidden_by_chance() {
    let token: String = (0..500).map(|n: u32| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
    let secrets = Secrets::new([&*token]);
    for text in [
        "plan 614 is not running: the action is not available for plans in state Terminating",
        "INTERNAL_SERVER_ERROR: unexpected error (trace id XK7-QQ_81)",
        "Plan çalışmıyor: işlem şu anda kullanılamıyor",
        "see https://docs.example.com/errors?code=NOT_AVAILABLE&lang=tr",
    ] {
        let shown = cut(text, TEXT_BYTES_MAX);
        assert_eq!(secrets.clean(text).as_deref(), Some(shown));
    }
}

/// The cost of the old way grew with the product of both: minutes.
#[test]
fn long_secrets_and_many_texts_are_no_trouble() {
    for token in ["x".repeat(1 << 20), "abcdefgh".repeat(1 << 17)] {
        let secrets = Secrets::new([&*token]);
        let text = &token[3..1000];
        for _ in 0..16 {
            assert_eq!(secrets.clean(text).as_deref(), Some(REDACTED));
        }
    }
}

#[test]
fn nothing_shows_a_secret_to_a_debugger() {
    let secrets = Secrets::new(["5ecret-5ecret"]);
    secrets.clean("5ecret-5ecret");
    assert!(!format!("{secrets:?}").contains("5ecret"));
}

proptest! {
    #[test]
    fn no_encoding_of_any_secret_is_shown(secret in "[!-*,-~][ -~ğüşöçİ]{6,38}[!-*,-~]") {
        let secrets = Secrets::new([&*secret]);
        for (name, encoded) in encodings(&secret) {
            let left = left_of(&secrets, &encoded);
            prop_assert!(left.is_none(), "{} of {:?}: {:?}", name, secret, left);
        }
    }

    #[test]
    fn any_text_is_cleaned(secret in ".{0,20}", text in ".{0,300}") {
        let shown = Secrets::new([&*secret]).clean(&text).unwrap_or_default();
        prop_assert!(shown.len() <= TEXT_BYTES_MAX);
    }

    #[test]
    fn escapes_are_read_without_a_panic(text in "[%\\\\&u#x0-9a-fA-F;{}d8]{0,60}") {
        Secrets::new(["5ecret-5ecret"]).clean(&text);
    }
}
