//! The corpus of the fuzz target, as a table: a file's name begins with what its bytes are read as.

#[path = "../fuzz/oracle.rs"]
mod oracle;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use testinium_operator::machine::Body;
use testinium_operator::testinium::{Secrets, envelope};

#[test]
fn the_corpus_is_read_as_its_names_say() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/answer");
    let mut named = 0;
    for file in fs::read_dir(&corpus).expect("the corpus is kept in the repository") {
        let path = file.expect("the corpus can be listed").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&path).expect("a seed can be read");
        oracle::check(&bytes);

        let read = match envelope::body(&bytes, true, &Secrets::default()) {
            Body::Envelope(envelope) if !envelope.errors.is_empty() => "error",
            Body::Envelope(envelope) if envelope.opaque => "opaque",
            Body::Envelope(_) => "accepted",
            Body::Json => "json",
            Body::Other => "other",
        };
        // The fuzzer names what it finds by a hash.
        if let Some((expected @ ("accepted" | "error" | "opaque" | "json" | "other"), _)) =
            name.split_once('-')
        {
            assert_eq!(read, expected, "{name}: {}", String::from_utf8_lossy(&bytes));
            named += 1;
        }
    }
    assert!(named >= 40, "only {named} seeds in {}", corpus.display());
}

/// JSON out of the words that replies are made of, so that most of it comes close to an envelope.
fn json() -> impl Strategy<Value = String> {
    let words = ["null", "true", "false", "0", "1", "614", "0.5", "1e99", r#""""#, r#"" ""#, "[]", "{}"];
    let texts = [
        r#""SUCCESS""#,
        r#""NOT_AVAILABLE""#,
        r#""plan 614 is not running""#,
        r#""the grid is not running""#,
        r#""plan 614""#,
        r#""plan 614, 615""#,
        r#""tok-0123456789abcdef""#,
    ];
    let keys = [
        "errors", "Errors", "error", "data", "result", "code", "message", "status", "success", "id",
        "planId", "614", "615", "plans[0]", "failed", "other",
    ];
    let leaf = select(words.into_iter().chain(texts).map(str::to_owned).collect::<Vec<_>>());
    leaf.prop_recursive(4, 32, 4, move |inner| {
        let object = vec((select(keys.to_vec()), inner.clone()), 0..5).prop_map(|fields| {
            let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key:?}: {value}")).collect();
            format!("{{{}}}", fields.join(", "))
        });
        let list = vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", ")));
        prop_oneof![4 => object, 1 => list]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn nothing_but_the_known_envelope_is_accepted(text in json()) {
        oracle::check(text.as_bytes());
    }
}
