//! Validation rules that several fields share.
//!
//! Rules in CEL rather than patterns of the schema, because a rule's message can say what to write instead.

use kube::core::Rule;

/// An absolute address without credentials, query or fragment: the operator appends paths to it, and what is
/// written here is shown in status and logs.
pub(super) fn url() -> Rule {
    Rule::new(r"self.matches('^https?://[^/?#@\\s]+(/[^?#\\s]*)?$') && isURL(self) && url(self).getHostname() != ''").message(
        "write an address such as https://testinium.example.com/path: https:// and a host, without user, query and #",
    )
}

/// The address of a gateway, not that of its stop endpoint: an API page shows the whole of it.
pub(super) fn base_url() -> Rule {
    Rule::new(r"!self.matches('(?i)[^/:]/([^?#]*/)?stop(/execution)?/*$')")
        .message("write the address without /stop/execution at its end: the operator adds it")
}

/// The name of an object whose names are DNS subdomain names.
pub(super) fn object_name() -> Rule {
    Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(
        "write an object's name: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
    )
}

/// A key of a Secret's or ConfigMap's data.
pub(super) fn data_key() -> Rule {
    Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')")
        .message("write a key of the object's data: letters, digits, '-', '_' and '.'")
}
