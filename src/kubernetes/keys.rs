//! The values of a few keys of a Secret or ConfigMap, out of the bytes of the object.
//!
//! Pure. Everything else is skipped and never built: an object may be a megabyte large, and a token
//! needs no other key of it. No message about a value shows any of it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The encoding of an object's values, which depends on its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The encoding of a Secret.
    Base64,
    /// The encoding of a ConfigMap.
    Text,
}

/// A key that is asked for, and how large its value may be.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub key: String,
    pub bytes_max: usize,
}

/// The value under a key.
#[derive(Debug)]
pub enum Value {
    Absent,
    Text(SecretString),
    TooLarge,
    NoText,
}

/// The identity and version of an object, and its values in the order in which they were asked for.
#[derive(Debug)]
pub struct Found {
    pub uid: String,
    pub version: String,
    /// When it was last written, as far as its managedFields tell.
    pub written: Option<Timestamp>,
    pub values: Vec<Value>,
}

/// Reads an object; none if it is no such object.
pub fn find(json: &[u8], encoding: Encoding, wanted: &[Wanted]) -> Option<Found> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let found = Object { encoding, wanted }.deserialize(&mut json).ok()?;
    json.end().ok().map(|()| found)
}

#[derive(Clone, Copy)]
struct Object<'w> {
    encoding: Encoding,
    wanted: &'w [Wanted],
}

/// The object's `data`.
struct Data<'w>(Object<'w>);

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    uid: String,
    resource_version: String,
    managed_fields: Vec<Managed>,
}

#[derive(Deserialize)]
struct Managed {
    #[serde(default)]
    time: Option<Timestamp>,
}

/// A text, copied only if it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

// === impl Object ===

impl Object<'_> {
    /// The values of an object without data.
    fn nothing(self) -> Vec<Value> {
        self.wanted.iter().map(|_| Value::Absent).collect()
    }

    fn value(self, text: &str, bytes_max: usize) -> Value {
        match self.encoding {
            Encoding::Text if text.len() > bytes_max => Value::TooLarge,
            Encoding::Text => Value::Text(text.into()),
            // Four characters are three bytes at most, so a text that is too long for that need not be decoded.
            Encoding::Base64 if text.len() / 4 > bytes_max.div_ceil(3) => Value::TooLarge,
            Encoding::Base64 => match STANDARD.decode(text).map(String::from_utf8) {
                Ok(Ok(text)) if text.len() > bytes_max => Value::TooLarge,
                Ok(Ok(text)) => Value::Text(text.into()),
                Ok(Err(_)) | Err(_) => Value::NoText,
            },
        }
    }
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Found, A::Error> {
        let mut metadata = Metadata::default();
        let mut values = self.nothing();
        while let Some(Text(field)) = access.next_key::<Text<'de>>()? {
            match &*field {
                "metadata" => metadata = access.next_value()?,
                "data" => values = access.next_value_seed(Data(self))?,
                _ => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        if metadata.uid.is_empty() {
            return Err(A::Error::custom("no metadata"));
        }
        let Metadata { uid, resource_version: version, managed_fields } = metadata;
        let written = managed_fields.iter().filter_map(|managed| managed.time).max();
        Ok(Found { uid, version, written, values })
    }
}

// === impl Data ===

impl<'de> DeserializeSeed<'de> for Data<'_> {
    type Value = Vec<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Value>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Data<'_> {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<Value>, E> {
        Ok(self.0.nothing())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Vec<Value>, A::Error> {
        let mut values = self.0.nothing();
        while let Some(Text(key)) = access.next_key::<Text<'de>>()? {
            match self.0.wanted.iter().position(|wanted| wanted.key == *key) {
                Some(at) => {
                    let text = access.next_value::<Option<Text<'de>>>()?;
                    let text = text.map_or(Cow::Borrowed(""), |Text(text)| text);
                    values[at] = self.0.value(&text, self.0.wanted[at].bytes_max);
                }
                None => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::*;

    fn read(object: &serde_json::Value, encoding: Encoding, keys: &[&str]) -> Option<Vec<String>> {
        let wanted: Vec<_> = keys.iter().map(|key| Wanted { key: (*key).to_owned(), bytes_max: 6 }).collect();
        let found = find(object.to_string().as_bytes(), encoding, &wanted)?;
        let word = |value: &Value| match value {
            Value::Text(text) => text.expose_secret().to_owned(),
            other => format!("{other:?}"),
        };
        Some(found.values.iter().map(word).collect())
    }

    #[test]
    fn what_is_asked_for_is_found() {
        let object = |data: serde_json::Value| json!({"data": data, "metadata": {"uid": "u", "labels": {"data": "x"}}});
        let encode = |text: &str| STANDARD.encode(text);
        let secret = object(json!({
            "a": encode("secret"), "b\n": encode("kéy"), "long": encode("secret!"), "longer": encode(&"x".repeat(99)),
            "bytes": STANDARD.encode([0xff]), "no base64": "*", "null": null, "empty": "",
        }));
        for (key, expected) in [
            ("a", "secret"),
            ("b\n", "kéy"),
            ("long", "TooLarge"),
            ("longer", "TooLarge"),
            ("bytes", "NoText"),
            ("no base64", "NoText"),
            ("null", ""),
            ("empty", ""),
            ("other", "Absent"),
        ] {
            let found = read(&secret, Encoding::Base64, &[key, "a"]).expect("it is an object");
            let with_a = if key == "a" { "Absent" } else { "secret" };
            assert_eq!(found, [expected, with_a], "{key}");
        }
        let map = object(json!({"a": "s\ncret", "long": "secret!"}));
        assert_eq!(read(&map, Encoding::Text, &["long", "a"]).expect("an object"), ["TooLarge", "s\ncret"]);
        for none in [json!({"metadata": {"uid": "u"}}), object(json!(null)), object(json!({}))] {
            assert_eq!(read(&none, Encoding::Base64, &["a"]).expect("an object"), ["Absent"], "{none}");
        }
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        for text in [
            json!([]),
            json!("x"),
            json!({}),
            json!({"metadata": {}}),
            json!({"metadata": {"uid": "u"}, "data": []}),
            json!({"metadata": {"uid": "u"}, "data": {"a": 5}}),
        ] {
            assert_eq!(read(&text, Encoding::Base64, &["a"]), None, "{text}");
        }
        assert!(find(b"{\"metadata\": {\"uid\": \"u\"}", Encoding::Text, &[]).is_none());
    }

    #[test]
    fn nothing_shows_a_value() {
        let object = json!({"metadata": {"uid": "u"}, "data": {"a": STANDARD.encode("5ecret")}});
        let wanted = [Wanted { key: "a".into(), bytes_max: 16 }];
        let found = find(object.to_string().as_bytes(), Encoding::Base64, &wanted);
        assert!(!format!("{found:?}").contains("5ecret"));
    }
}
