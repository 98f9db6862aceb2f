//! The answers of the gateway: the published shapes, and all that proxies and bad networks make of them.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::hold::Hold;
use super::log::Request;
use super::plans::{Fault, Judgement, Report};
use super::words::words;
use crate::encodings::Encoding;

/// How a non-null `errors` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorShape {
    /// One string.
    Text,
    /// A list of strings.
    Texts,
    /// A list of objects with `code` and `message`, and with `id` where plans are named.
    Objects,
    /// A map from the plan's id to a string; keyed by error code where plans are not named.
    Map,
}

/// One answer to one request.
///
/// Made by one of the constructors, then bent by the methods that return `Self`. A reply that says success acts on
/// the plans, every other leaves them alone; [`Reply::acting`] and [`Reply::not_acting`] say otherwise. The content
/// of a natural reply is not known beforehand, so headers and ways to send the body do nothing to it.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) message: Option<Message>,
    pub(crate) acts: bool,
    pub(crate) delay: Duration,
    pub(crate) hold: Option<Hold>,
    pub(crate) fate: Fate,
    pub(crate) quote: Option<Quote>,
}

/// An answer that is made of its own request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quote {
    status: u16,
    encoding: Encoding,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Whole(Bytes),
    /// `chunk` bytes at a time with a pause before each.
    Dripping {
        bytes: Bytes,
        chunk: usize,
        pause: Duration,
    },
    /// These bytes, then the connection breaks.
    Truncated(Bytes),
    /// This many bytes of one valid envelope, made while they are sent.
    Filler(u64),
}

/// Whether an answer arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Never,
    Dropped,
}

// === impl Reply ===

impl Reply {
    /// The reply that the natures of the plans call for, as if nothing had been scripted.
    pub fn natural() -> Self {
        Self {
            message: None,
            acts: true,
            delay: Duration::ZERO,
            hold: None,
            fate: Fate::Arrives,
            quote: None,
        }
    }

    /// The documented success.
    pub fn success() -> Self {
        Self::json(200, &json!({"data": null, "errors": null})).acting()
    }

    /// The documented success with another status, such as 201 or 202.
    pub fn success_with(status: u16) -> Self {
        Self::json(status, &json!({"data": null, "errors": null})).acting()
    }

    /// How version 1.16 said that a plan is not running.
    pub fn not_available() -> Self {
        Self::json(200, &json!({"status": "NOT_AVAILABLE", "message": "The action is not available"}))
    }

    /// 200 with this as `errors`.
    pub fn errors(errors: Value) -> Self {
        Self::json(200, &json!({"data": null, "errors": errors}))
    }

    /// The envelope with this as `errors`, with any status.
    pub fn errors_with(status: u16, errors: &Value) -> Self {
        Self::json(status, &json!({"data": null, "errors": errors}))
    }

    /// 200 with `errors` of one of the shapes; a fault is a plan, a code and a text.
    pub fn faults(shape: ErrorShape, named: bool, faults: &[(i64, &'static str, &'static str)]) -> Self {
        let faults: Vec<_> = faults.iter().map(|(id, code, text)| Fault { id: *id, code, text }).collect();
        Self::errors(shape.write(named, &faults))
    }

    /// 200 with `result.code`, as the gateway's other calls answer; 0 is a success and acts.
    pub fn result_code(code: i64) -> Self {
        let message = if code == 0 { "success" } else { "failure" };
        let reply = Self::json(200, &json!({"data": null, "result": {"code": code, "message": message}}));
        if code == 0 { reply.acting() } else { reply }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self::bytes(status, None, Bytes::new())
    }

    /// A page such as proxies and portals send.
    pub fn html(status: u16) -> Self {
        let page = "<!DOCTYPE html>\n<html><head><title>Bad Gateway</title></head>\
            <body><h1>Bad Gateway</h1><p>proxy.example.com could not reach the server</p></body></html>\n";
        Self::bytes(status, Some("text/html; charset=utf-8"), page.into())
    }

    /// JSON of any kind.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, Some("application/json"), body.to_string().into())
    }

    /// Any bytes, JSON by their label.
    pub fn raw(status: u16, body: impl Into<Bytes>) -> Self {
        Self::bytes(status, Some("application/json"), body.into())
    }

    /// 200 whose error says in Turkish that the plan is not running.
    pub fn turkish() -> Self {
        Self::errors(json!(["Plan çalışmıyor: işlem şu anda kullanılamıyor"]))
    }

    /// The envelope with which the gateway refuses a call: 400, 401, 500 and the like.
    pub fn refusal(status: u16) -> Self {
        let (code, text) = words(status);
        Self::json(status, &json!({"data": null, "errors": [{"code": code, "message": text}]}))
    }

    /// An answer that quotes its request, in headers and body, in an encoding.
    pub fn quoting(status: u16, encoding: Encoding) -> Self {
        Self { quote: Some(Quote { status, encoding }), ..Self::empty(status) }
    }

    /// A redirect to `location`.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::empty(status).header(LOCATION, location)
    }

    /// A success of `length` bytes, streamed.
    pub fn huge(length: u64) -> Self {
        let mut reply = Self::success();
        if let Some(message) = &mut reply.message {
            message.content = Content::Filler(length);
        }
        reply
    }

    /// No answer, ever, and no effect.
    pub fn never() -> Self {
        Self::natural().not_acting().unanswered()
    }

    /// The connection breaks before anything is done.
    pub fn dropped() -> Self {
        Self::natural().not_acting().lost()
    }

    /// Acts on the plans as their natures say, whatever the answer says.
    pub fn acting(mut self) -> Self {
        self.acts = true;
        self
    }

    /// Leaves the plans alone, whatever the answer says. A natural reply that does not act says success.
    pub fn not_acting(mut self) -> Self {
        self.acts = false;
        self
    }

    /// The connection breaks instead of bringing the answer.
    pub fn lost(mut self) -> Self {
        self.fate = Fate::Dropped;
        self
    }

    /// The answer never comes, and the connection stays open.
    pub fn unanswered(mut self) -> Self {
        self.fate = Fate::Never;
        self
    }

    /// The answer leaves this much later; what is done to the plans is done at once.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The answer leaves, or the connection breaks, no sooner than the hold is released; what is done to the plans is
    /// done at once.
    pub fn held(mut self, hold: &Hold) -> Self {
        self.hold = Some(hold.clone());
        self
    }

    /// The body comes `chunk` bytes at a time, each after a pause.
    pub fn dripping(self, chunk: usize, pause: Duration) -> Self {
        self.reshape(|bytes| Content::Dripping { bytes, chunk: chunk.max(1), pause })
    }

    /// The connection breaks after so many bytes of the body.
    pub fn truncated(self, length: usize) -> Self {
        self.reshape(|bytes| Content::Truncated(bytes.slice(..length.min(bytes.len()))))
    }

    /// A byte order mark comes before the body, as Windows programs write it.
    pub fn with_byte_order_mark(self) -> Self {
        self.reshape(|bytes| Content::Whole([BYTE_ORDER_MARK, &bytes].concat().into()))
    }

    /// One more header. A name or value that is no header's is left out.
    pub fn header(mut self, name: impl TryInto<HeaderName>, value: impl AsRef<str>) -> Self {
        if let (Some(message), Ok(name), Ok(value)) =
            (&mut self.message, name.try_into(), HeaderValue::from_str(value.as_ref()))
        {
            message.headers.insert(name, value);
        }
        self
    }

    /// `Retry-After` in whole seconds.
    pub fn retry_after(self, delay: Duration) -> Self {
        self.header(RETRY_AFTER, delay.as_secs().to_string())
    }

    /// `Retry-After` as a date.
    pub fn retry_after_date(self, date: SystemTime) -> Self {
        self.header(RETRY_AFTER, httpdate::fmt_http_date(date))
    }

    pub(crate) fn method_not_allowed(allowed: &str) -> Self {
        Self::refusal(405).header(ALLOW, allowed)
    }

    pub(crate) fn judged(judgement: &Judgement, shape: ErrorShape, named: bool) -> Self {
        match judgement {
            Judgement::Refused { status, fault } => {
                let errors = shape.write(named, std::slice::from_ref(fault));
                Self::json(*status, &json!({"data": null, "errors": errors}))
            }
            Judgement::Done { faults, .. } if faults.is_empty() => Self::success(),
            Judgement::Done { report: Report::Status, .. } => Self::not_available(),
            Judgement::Done { faults, .. } => Self::errors(shape.write(named, faults)),
        }
    }

    fn bytes(status: u16, content_type: Option<&'static str>, body: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        // Only a number outside 100..=999 is refused, and a test that scripts one sees this 500.
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let message = Message { status, headers, content: Content::Whole(body) };
        Self { message: Some(message), ..Self::natural().not_acting() }
    }

    fn reshape(mut self, reshape: impl FnOnce(Bytes) -> Content) -> Self {
        if let Some(message) = &mut self.message
            && let Content::Whole(bytes) = &message.content
        {
            message.content = reshape(bytes.clone());
        }
        self
    }
}

// === impl Quote ===

impl Quote {
    /// Everything that could be worth hiding: the credential of the header, the header, the body, and what the body
    /// means. All of it both in the words of Testinium and in those of OAuth.
    pub(crate) fn reply(self, request: &Request) -> Reply {
        let header = request.authorization.as_deref().unwrap_or_default();
        let credential = header.split_once(' ').map_or(header, |(_, credential)| credential);
        let body = String::from_utf8_lossy(&request.body);
        let decoded = STANDARD.decode(credential).ok().and_then(|pair| String::from_utf8(pair).ok());
        let fields = form_urlencoded::parse(&request.body).map(|(_, value)| value.into_owned());
        let quoted: Vec<String> = [credential.to_owned(), header.to_owned(), body.into_owned()]
            .into_iter()
            .chain(decoded)
            .chain(fields)
            .filter(|text| !text.is_empty())
            .map(|text| (self.encoding.encode)(&text))
            .collect();
        let first = quoted.first().cloned().unwrap_or_default();
        let error = |text: &String| json!({"code": "REJECTED", "message": format!("no: {text}")});
        let words = json!({
            "data": null,
            "errors": quoted.iter().map(error).collect::<Vec<_>>(),
            "error": quoted.last(),
            "error_description": quoted.join(" "),
        });
        let reply = Reply::json(self.status, &words);
        ["x-echo", "www-authenticate", "location", "retry-after", "set-cookie", "server"]
            .into_iter()
            .fold(reply, |reply, name| reply.header(name, &first))
    }
}

// === impl ErrorShape ===

impl ErrorShape {
    fn write(self, named: bool, faults: &[Fault]) -> Value {
        match self {
            Self::Text => {
                let sentences: Vec<_> = faults.iter().map(|fault| fault.sentence(named)).collect();
                json!(sentences.join("; "))
            }
            Self::Texts => faults.iter().map(|fault| json!(fault.sentence(named))).collect(),
            Self::Objects => faults.iter().map(|fault| object(fault, named)).collect(),
            Self::Map => {
                let key = |fault: &Fault| if named { fault.id.to_string() } else { fault.code.to_owned() };
                let entry = |fault: &Fault| (key(fault), json!(format!("{}: {}", fault.code, fault.text)));
                Value::Object(faults.iter().map(entry).collect())
            }
        }
    }
}

fn object(fault: &Fault, named: bool) -> Value {
    let Fault { id, code, text } = fault;
    if named {
        json!({"id": id, "code": code, "message": text})
    } else {
        json!({"code": code, "message": text})
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
