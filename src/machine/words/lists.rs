//! Every word that matters in a reported error, and where it is from.

/// The source of a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The published API of Testinium Enterprise 2.0.
    Published,
    /// The RestApi of release 1.16.
    RestApi,
    /// Nowhere: servers of this kind say so.
    Assumed,
}

use Source::{Assumed, Published, RestApi};

/// A word or a phrase, folded as texts are before they are compared: in small letters, without diacritics.
pub type Word = (&'static str, Source);

/// Codes that say that the credential is not accepted.
pub const CREDENTIAL_CODES: &[Word] = &[
    ("unauthorized", Published),
    ("invalid_client", RestApi),
    ("token_expired", Assumed),
    ("expired_token", Assumed),
    ("access_token_expired", Assumed),
    ("token_invalid", Assumed),
    ("invalid_token", Assumed),
    ("invalid_access_token", Assumed),
    ("token_not_valid", Assumed),
    ("token_revoked", Assumed),
    ("token_missing", Assumed),
    ("missing_token", Assumed),
    ("jwt_expired", Assumed),
    ("invalid_jwt", Assumed),
    ("session_expired", Assumed),
    ("credentials_expired", Assumed),
    ("invalid_credentials", Assumed),
    ("bad_credentials", Assumed),
    ("unauthorised", Assumed),
    ("unauthenticated", Assumed),
    ("not_authenticated", Assumed),
    ("authentication_failed", Assumed),
    ("authentication_required", Assumed),
    ("login_required", Assumed),
];

/// Phrases that say so anywhere in a text.
pub const CREDENTIAL_PHRASES: &[Word] = &[
    ("token is missing or not valid", Published),
    ("unauthorized", Published),
    ("unauthenticated", Assumed),
    ("not authenticated", Assumed),
    ("authentication failed", Assumed),
    ("authentication is required", Assumed),
    ("bad credentials", Assumed),
    ("invalid credentials", Assumed),
    ("invalid access token", Assumed),
    ("invalid token", Assumed),
    ("token expired", Assumed),
    ("token is expired", Assumed),
    ("token has expired", Assumed),
    ("token is invalid", Assumed),
    ("token is not valid", Assumed),
    ("token was revoked", Assumed),
    ("token has been revoked", Assumed),
    ("jwt expired", Assumed),
    ("session expired", Assumed),
    ("session has expired", Assumed),
    ("token suresi doldu", Assumed),
    ("token suresi dolmus", Assumed),
    ("tokenin suresi doldu", Assumed),
    ("gecersiz token", Assumed),
    ("token gecersiz", Assumed),
    ("oturum suresi doldu", Assumed),
    ("oturum suresi dolmus", Assumed),
    ("oturumunuzun suresi doldu", Assumed),
    ("kimlik dogrulama basarisiz", Assumed),
    ("kimlik dogrulamasi basarisiz", Assumed),
    ("kimlik dogrulama gerekli", Assumed),
];

/// Codes that say that something does not work at present. A code that begins with `service_` does too, and so does
/// one that names one of the [`MATTERS`] and one of the [`STATES`].
pub const TROUBLE_CODES: &[Word] = &[
    ("internal_server_error", Published),
    ("internal_error", Assumed),
    ("server_error", Assumed),
    ("unexpected_error", Assumed),
    ("temporarily_unavailable", Assumed),
    ("try_again", Assumed),
    ("try_again_later", Assumed),
    ("retry_later", Assumed),
    ("too_many_requests", Assumed),
    ("rate_limit_exceeded", Assumed),
    ("timeout", Assumed),
    ("gateway_timeout", Assumed),
    ("bad_gateway", Assumed),
    ("maintenance", Assumed),
    ("under_maintenance", Assumed),
];

/// Phrases that say so anywhere in a text.
pub const TROUBLE_PHRASES: &[Word] = &[
    ("internal server error", Published),
    ("internal error", Assumed),
    ("unexpected error", Assumed),
    ("try again", Assumed),
    ("try it again", Assumed),
    ("try later", Assumed),
    ("retry later", Assumed),
    ("please retry", Assumed),
    ("temporarily", Assumed),
    ("under maintenance", Assumed),
    ("maintenance mode", Assumed),
    ("timed out", Assumed),
    ("too many requests", Assumed),
    ("overloaded", Assumed),
    ("connection refused", Assumed),
    ("tekrar deneyin", Assumed),
    ("tekrar deneyiniz", Assumed),
    ("yeniden deneyin", Assumed),
    ("yeniden deneyiniz", Assumed),
    ("gecici olarak", Assumed),
    ("bakim calismasi", Assumed),
    ("bakim nedeniyle", Assumed),
    ("sunucu hatasi", Assumed),
    ("beklenmeyen hata", Assumed),
    ("beklenmeyen bir hata", Assumed),
    ("beklenmedik bir hata", Assumed),
    ("zaman asimi", Assumed),
    ("zaman asimina", Assumed),
];

/// Things that Testinium may need for a stop beside the plan. A text that says that one of them does not work says
/// nothing about a plan.
/// Turkish puts endings to its words, so each word counts as the beginning of one; English ones do no harm so.
pub const MATTERS: &[&str] = &[
    "service",
    "servis",
    "hizmet",
    "database",
    "veritaban",
    "grid",
    "selenium",
    "izgara",
    "broker",
    "queue",
    "kuyruk",
    "kuyrug",
    "licence",
    "license",
    "lisans",
    "resource",
    "kaynak",
    "kaynag",
    "server",
    "sunucu",
    "backend",
    "system",
    "sistem",
    "node",
    "dugum",
    "hub",
    "host",
    "cluster",
    "agent",
    "ajan",
    "worker",
    "machine",
    "makine",
    "device",
    "cihaz",
    "browser",
    "tarayici",
    "driver",
    "surucu",
    "network",
    "connection",
    "baglanti",
    "storage",
    "disk",
    "cache",
    "memory",
    "bellek",
    "api",
    "application",
    "uygulama",
    "environment",
    "ortam",
    "component",
    "bilesen",
    "scheduler",
    "zamanlayici",
    "redis",
    "kafka",
    "rabbitmq",
    "mongo",
    "jenkins",
    "kubernetes",
];

/// Matters of two words.
pub const LONG_MATTERS: &[&str] = &["veri tabani", "veri tabanina", "message bus", "load balancer"];

/// Phrases by which a text says that a matter does not work.
pub const ABSENCES: &[&str] = &[
    "not available",
    "isn't available",
    "unavailable",
    "not running",
    "isn't running",
    "not reachable",
    "unreachable",
    "not responding",
    "not ready",
    "is down",
    "are down",
    "offline",
    "overloaded",
    "exhausted",
    "expired",
    "busy",
    "calismiyor",
    "kullanilamiyor",
    "kullanilabilir degil",
    "kullanima kapali",
    "mevcut degil",
    "uygun degil",
    "musait degil",
    "hazir degil",
    "aktif degil",
    "ulasilamiyor",
    "ulasilamadi",
    "erisilemiyor",
    "erisilemedi",
    "yanit vermiyor",
    "cevap vermiyor",
    "devre disi",
    "hizmet disi",
    "servis disi",
    "mesgul",
    "kapali",
    "suresi doldu",
    "suresi dolmus",
];

/// Words by which a code says that a matter does not work.
pub const STATES: &[&str] = &[
    "unavailable",
    "available",
    "running",
    "reachable",
    "unreachable",
    "down",
    "error",
    "failed",
    "failure",
    "timeout",
    "busy",
    "full",
    "offline",
    "overloaded",
    "expired",
    "exhausted",
    "exceeded",
    "ready",
];

/// Codes that say that the plan is not running.
pub const NOT_RUNNING_CODES: &[Word] = &[
    ("not_available", RestApi),
    ("not_running", Assumed),
    ("action_not_available", Assumed),
    ("plan_not_available", Assumed),
    ("plan_not_running", Assumed),
    ("test_plan_not_running", Assumed),
    ("execution_not_available", Assumed),
    ("execution_not_running", Assumed),
];

/// The subjects of such a sentence, the longest first: the plan, its execution, or the action.
pub const SUBJECTS: &[Word] = &[
    ("test plan execution", Assumed),
    ("execution of plan", Assumed),
    ("execution of the plan", Assumed),
    ("requested action", Assumed),
    ("plan execution", Assumed),
    ("test execution", Assumed),
    ("stop action", Assumed),
    ("test plan", Assumed),
    ("test planinin kosumu", Assumed),
    ("planin kosumu", Assumed),
    ("plan kosumu", Assumed),
    ("test kosumu", Assumed),
    ("test plani", Assumed),
    ("durdurma islemi", Assumed),
    ("kosum", Assumed),
    ("islem", Assumed),
    ("eylem", Assumed),
    ("execution", Assumed),
    ("action", Published),
    ("plan", Published),
];

/// Words that only say that something was wrong, beside the sentence that says what.
pub const EMPTY_TALK: &[&str] = &[
    "invalid_request",
    "bad_request",
    "bad request",
    "not found",
    "conflict",
    "gone",
    "unprocessable entity",
    "unprocessable content",
];

/// The subjects whose id is a plan's.
pub const PLANS: &[&str] =
    &["plan", "test plan", "test plani", "execution of plan", "planin kosumu", "test planinin kosumu"];

/// The ends of subjects that are actions.
pub const ACTIONS: &[&str] = &["action", "islem", "islemi", "eylem"];

/// The predicates of such a sentence.
pub const PREDICATES: &[Word] = &[
    ("is not running", Published),
    ("is not available", Published),
    ("isn't running", Assumed),
    ("isn't available", Assumed),
    ("not running", Assumed),
    ("not available", Assumed),
    ("was not running", Assumed),
    ("wasn't running", Assumed),
    ("is no longer running", Assumed),
    ("is currently not running", Assumed),
    ("is not currently running", Assumed),
    ("is unavailable", Assumed),
    ("calismiyor", Assumed),
    ("su anda calismiyor", Assumed),
    ("su an calismiyor", Assumed),
    ("calisir durumda degil", Assumed),
    ("mevcut degil", Assumed),
    ("uygun degil", Assumed),
    ("kullanilamiyor", Assumed),
    ("kullanilabilir degil", Assumed),
];

/// Remarks that may follow such a sentence behind a colon, because they say no more.
pub const REMARKS: &[Word] = &[("islem su anda kullanilamiyor", Assumed)];

/// Words that may stand before a subject.
pub const ARTICLES: &[&str] = &["the", "this", "that", "bu"];

/// Between an id and the plan, as Turkish says it: "614 numaralı plan".
pub const NUMBERED: &[&str] = &["numarali", "nolu", "id'li"];

/// Words of permission. With one of them, not even a code says that the plan is not running: it may be that the
/// action is not available to this account.
pub const PERMISSION: &[&str] = &[
    "role",
    "permission",
    "permitted",
    "allowed",
    "authority",
    "authorized",
    "forbidden",
    "denied",
    "access",
    "account",
    "user",
    "subscription",
    "rol",
    "yetki",
    "izin",
    "izni",
    "hesap",
    "hesab",
    "kullanici",
    "abonelik",
];
