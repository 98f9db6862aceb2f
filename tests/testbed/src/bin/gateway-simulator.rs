//! The simulated gateway as a command, for trying the operator by hand.
//!
//! Prints where it is, then a line for each request once it is clear what came of it; never a credential that was
//! presented. Ends on Ctrl-C and SIGTERM.

use std::error::Error;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::Value;
use testinium_testbed::simulator::{
    Client, Config, ErrorShape, Foreign, Login, Nature, Reply, Report, Simulator, Tls, TokenRefusal, When,
};
use tokio::signal::unix::{SignalKind, signal};

/// Serves a simulated Testinium gateway.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the gateway listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the RestApi (login, checkIsRunning) listens; by default a free port
    #[arg(long)]
    rest_api_listen: Option<SocketAddr>,
    /// Path put before /stop/execution, such as /gateway
    #[arg(long, default_value = "")]
    base_path: String,
    /// Bearer token that is accepted
    #[arg(long, default_value = "simulated-token")]
    token: String,
    /// X-Company-Id that calls must carry
    #[arg(long)]
    company_id: Option<String>,
    /// How long each answer takes
    #[arg(long, default_value_t = 0)]
    latency_milliseconds: u64,
    /// The nature of plans that no other flag names
    #[arg(long, value_enum, default_value_t = Others::Running)]
    others: Others,
    /// Plans that run, e.g. 614,615
    #[arg(long, value_delimiter = ',')]
    running: Vec<i64>,
    /// Plans that do not run
    #[arg(long, value_delimiter = ',')]
    not_running: Vec<i64>,
    /// Plans that do not exist
    #[arg(long, value_delimiter = ',')]
    unknown: Vec<i64>,
    /// Plans that accept a stop and run on
    #[arg(long, value_delimiter = ',')]
    never_stops: Vec<i64>,
    /// Plans that are refused with an error of their own
    #[arg(long, value_delimiter = ',')]
    rejected: Vec<i64>,
    /// Plans that run on for some seconds after a stop, e.g. 617=5
    #[arg(long, value_delimiter = ',', value_name = "PLAN=SECONDS")]
    terminates_slowly: Vec<Pair<u64>>,
    /// Plans that fail every call that names them with a status, e.g. 618=500
    #[arg(long, value_delimiter = ',', value_name = "PLAN=STATUS")]
    poisons: Vec<Pair<u16>>,
    /// Answer every stop with this status instead
    #[arg(long, value_name = "STATUS")]
    answer: Option<u16>,
    /// Answer every stop with the envelope and this sentence as its error, with the status of --answer or 200
    #[arg(long, value_name = "SENTENCE")]
    answer_text: Option<String>,
    /// Answer every stop as somebody who stands before the gateway would
    #[arg(long, value_enum, conflicts_with_all = ["answer", "answer_text"])]
    answer_foreign: Option<Foreign>,
    /// Answer every second stop so, as one bad replica of two
    #[arg(long, value_enum)]
    bad_replica: Option<Foreign>,
    /// Give the bad replica every second connection instead of every second stop
    #[arg(long, requires = "bad_replica")]
    replicas_by_connection: bool,
    /// How a path that is no endpoint is answered; by default with 404 and the envelope
    #[arg(long, value_enum)]
    unknown_path: Option<Foreign>,
    /// How a token that is not accepted is refused
    #[arg(long, value_enum, default_value_t = TokenRefusal::Unauthorized)]
    token_refusal: TokenRefusal,
    /// Answer an unknown plan with 200 and errors instead of 400 for the whole call
    #[arg(long)]
    unknown_as_errors: bool,
    /// Say that a plan does not run as version 1.16 did
    #[arg(long)]
    not_running_as_status: bool,
    /// How errors are written
    #[arg(long, value_enum, default_value_t = Shape::Objects)]
    error_shape: Shape,
    /// Leave plan ids out of errors
    #[arg(long)]
    anonymous_errors: bool,
    /// Longest list of plans that is taken
    #[arg(long)]
    max_plans: Option<usize>,
    /// User who may log in
    #[arg(long, default_value = "operator")]
    username: String,
    /// The user's password
    #[arg(long, default_value = "simulated-password")]
    password: String,
    /// Client id of a login as of version 1.16
    #[arg(long, default_value = "client")]
    client_id: String,
    /// The client's secret
    #[arg(long, default_value = "simulated-secret")]
    client_secret: String,
    /// Client key of a login as of version 2.0, instead of id and secret
    #[arg(long)]
    client_key: Option<String>,
    /// How long an issued token is accepted
    #[arg(long, default_value_t = 3600)]
    expires_in_seconds: u64,
    /// Wrong passwords in a row after which the account is locked
    #[arg(long)]
    lockout_after: Option<u32>,
    /// Serve HTTPS, with an authority made anew
    #[arg(long)]
    tls: bool,
    /// Demand a client certificate of the same authority (implies --tls)
    #[arg(long)]
    client_certificate: bool,
    /// Directory to write ca.crt, tls.crt and tls.key (the client's) to
    #[arg(long)]
    write_certificates: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Others {
    Running,
    NotRunning,
    Unknown,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shape {
    Text,
    Texts,
    Objects,
    Map,
}

/// A plan with a number.
#[derive(Clone, Copy, Debug)]
struct Pair<T>(i64, T);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let simulator = Simulator::start(arguments.config())?;
    arguments.declare(&simulator);
    if let Some(directory) = &arguments.write_certificates {
        write_certificates(&simulator, directory)?;
    }
    simulator.observe(|request| {
        // The reader of the lines may have gone; the gateway goes on.
        let _ = writeln!(io::stdout(), "{request}");
    });
    println!("gateway  {}", simulator.url());
    println!("rest-api {}", simulator.rest_api_url());
    println!("login    {}", simulator.token_url());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

// === impl Arguments ===

impl Arguments {
    fn config(&self) -> Config {
        let client = match &self.client_key {
            Some(key) => Client::Key(key.clone()),
            None => Client::Basic { id: self.client_id.clone(), secret: self.client_secret.clone() },
        };
        let login = Login {
            username: self.username.clone(),
            password: self.password.clone(),
            client,
            expires_in: self.expires_in_seconds,
            lifetime: None,
            lockout_after: self.lockout_after,
        };
        let tls = Tls { client_certificate: self.client_certificate, ..Tls::default() };
        Config {
            listen: self.listen,
            rest_api_listen: self.rest_api_listen,
            base_path: self.base_path.clone(),
            unknown_path: self.unknown_path,
            token: self.token.clone(),
            token_refusal: self.token_refusal,
            company_id: self.company_id.clone(),
            latency: Duration::from_millis(self.latency_milliseconds),
            default_nature: match self.others {
                Others::Running => Nature::Running,
                Others::NotRunning => Nature::NotRunning,
                Others::Unknown => Nature::Unknown,
            },
            unknown: if self.unknown_as_errors { Report::Errors } else { Report::Refusal(400) },
            not_running: if self.not_running_as_status { Report::Status } else { Report::Errors },
            stops_the_others: true,
            error_shape: match self.error_shape {
                Shape::Text => ErrorShape::Text,
                Shape::Texts => ErrorShape::Texts,
                Shape::Objects => ErrorShape::Objects,
                Shape::Map => ErrorShape::Map,
            },
            errors_name_plans: !self.anonymous_errors,
            max_plans: self.max_plans,
            login,
            tls: (self.tls || self.client_certificate).then_some(tls),
        }
    }

    fn stop_path(&self) -> String {
        format!("{}/stop/execution", self.base_path)
    }

    /// The answer to every stop, if there is to be one.
    fn answer(&self) -> Option<Reply> {
        match (&self.answer_text, self.answer, self.answer_foreign) {
            (Some(text), status, _) => {
                Some(Reply::errors_with(status.unwrap_or(200), &Value::from(text.as_str())))
            }
            (None, Some(status), _) => Some(Reply::refusal(status)),
            (None, None, foreign) => foreign.map(|foreign| foreign.reply(&self.stop_path())),
        }
    }

    fn declare(&self, simulator: &Simulator) {
        simulator.plans(self.running.iter().copied(), Nature::Running);
        simulator.plans(self.not_running.iter().copied(), Nature::NotRunning);
        simulator.plans(self.unknown.iter().copied(), Nature::Unknown);
        simulator.plans(self.never_stops.iter().copied(), Nature::NeverStops);
        simulator.plans(self.rejected.iter().copied(), Nature::Rejected);
        for Pair(plan, seconds) in &self.terminates_slowly {
            simulator.plan(*plan, Nature::TerminatesSlowly(Duration::from_secs(*seconds)));
        }
        for Pair(plan, status) in &self.poisons {
            simulator.plan(*plan, Nature::Poisons(*status));
        }
        if let Some(foreign) = self.bad_replica {
            let when = if self.replicas_by_connection {
                When::every_other_connection()
            } else {
                When::every_other()
            };
            simulator.script(when, foreign.reply(&self.stop_path()));
        }
        if let Some(reply) = self.answer() {
            simulator.script(When::always(), reply);
        }
    }
}

// === impl Pair ===

impl<T: FromStr> FromStr for Pair<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pair =
            text.split_once('=').and_then(|(plan, number)| Some((plan.parse().ok()?, number.parse().ok()?)));
        let (plan, number) = pair.ok_or("expected a plan and a number, such as 617=5")?;
        Ok(Self(plan, number))
    }
}

fn write_certificates(simulator: &Simulator, directory: &PathBuf) -> Result<(), Box<dyn Error>> {
    let (Some(authority), Some(client)) = (simulator.ca_pem(), simulator.client_identity()) else {
        return Err("failed to write certificates: there are none without --tls".into());
    };
    std::fs::create_dir_all(directory)?;
    let files = [("ca.crt", authority), ("tls.crt", &client.certificate_pem), ("tls.key", &client.key_pem)];
    for (name, pem) in files {
        std::fs::write(directory.join(name), pem)?;
    }
    Ok(())
}
