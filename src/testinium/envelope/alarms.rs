//! Words and numbers of trouble, wherever they stand in an envelope.

use serde_json::Value;

use crate::machine::ReportedError;
use crate::machine::words::{Sense, alarm};
use crate::testinium::json::plain;

/// Lets the rest of the envelope bear on its errors. A word of trouble, or the number of a status that means it, counts
/// wherever it stands; and beside something that nobody documents no reported error says that a plan is not running.
pub(super) fn doubt(errors: &mut [ReportedError], envelope: &Value, opaque: bool) {
    let (alarm, forbids) = alarms(envelope);
    if let (Some(alarm), Some(first)) = (alarm, errors.first_mut()) {
        first.sense = first.sense.max(alarm);
    }
    for error in errors.iter_mut().filter(|error| error.sense == Sense::NotRunning) {
        if opaque || forbids {
            error.sense = Sense::Other;
        }
    }
}

/// The worst that any text within says, and whether a number of a status in it is 403.
fn alarms(within: &Value) -> (Option<Sense>, bool) {
    let (mut worst, mut forbids) = (None, false);
    let mut values = vec![("", within)];
    while let Some((key, value)) = values.pop() {
        match value {
            Value::String(text) => worst = worst.max(alarm(text)),
            Value::Number(number)
                if ["code", "errorcode", "status", "statuscode"].contains(&&*plain(key)) =>
            {
                worst = worst.max(alarm(&number.to_string()));
                forbids |= number.as_u64() == Some(403);
            }
            Value::Array(items) => values.extend(items.iter().map(|item| (key, item))),
            Value::Object(fields) => {
                values.extend(fields.iter().map(|(key, value)| (key.as_str(), value)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    (worst, forbids)
}
