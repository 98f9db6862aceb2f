//! The Retry-After header, read in one way for every server: as a delay from now.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use crate::machine::Millis;

/// The delay that a Retry-After asks for: a number of seconds, or a date. A date counts from the reply's own Date,
/// since the server's clock may be off.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Millis> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Millis(text.parse().unwrap_or(u64::MAX).saturating_mul(1000)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let sent = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let delay = date.duration_since(sent.unwrap_or(now)).unwrap_or(Duration::ZERO);
    Some(Millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_a_delay() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:00:00 GMT").expect("it is a date");
        let early = "Sun, 06 Nov 1994 07:00:00 GMT";
        for (text, date, expected) in [
            ("120", None, Some(120_000)),
            (" 0 ", None, Some(0)),
            ("99999999999999999999999", None, Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:00:37 GMT", None, Some(37_000)),
            ("Sunday, 06-Nov-94 08:00:37 GMT", None, Some(37_000)),
            ("Sun Nov  6 08:00:37 1994", None, Some(37_000)),
            ("Sun, 06 Nov 1994 07:59:00 GMT", None, Some(0)),
            ("Sun, 06 Nov 1994 07:00:05 GMT", Some(early), Some(5_000)),
            ("Sun, 06 Nov 1994 08:00:37 GMT", Some("nonsense"), Some(37_000)),
            ("", None, None),
            ("-5", None, None),
            ("1.5", None, None),
            ("soon", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).expect("rows hold header values"));
            if let Some(date) = date {
                headers.insert(DATE, HeaderValue::from_static(date));
            }
            assert_eq!(retry_after(&headers, now), expected.map(Millis), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
