//! The codes and texts with which the gateway refuses a call.

/// The documented code of a status where there is one, and a plausible one elsewhere.
pub(crate) fn words(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("INVALID_REQUEST", "the request is malformed or contained errors"),
        401 => ("UNAUTHORIZED", "the token is missing or not valid"),
        403 => ("ACCESS_DENIED", "access is denied"),
        404 => ("NOT_FOUND", "there is nothing at this address"),
        405 => ("METHOD_NOT_ALLOWED", "the method is not allowed here"),
        408 => ("REQUEST_TIMEOUT", "the request took too long"),
        409 => ("CONFLICT", "the request conflicts with another"),
        413 => ("PAYLOAD_TOO_LARGE", "the request is too large"),
        422 => ("UNPROCESSABLE", "the request cannot be processed"),
        425 => ("TOO_EARLY", "try again later"),
        429 => ("TOO_MANY_REQUESTS", "too many requests"),
        503 => ("SERVICE_UNAVAILABLE", "try again later"),
        500.. => ("INTERNAL_SERVER_ERROR", "unexpected error"),
        _ => ("ERROR", "the request failed"),
    }
}
