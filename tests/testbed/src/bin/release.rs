//! Makes a release and pushes it to a registry, or to one on this machine as a rehearsal.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use testinium_testbed::chain;
use testinium_testbed::helm::Helm;
use testinium_testbed::image::{Architecture, Origin, Places, build};
use testinium_testbed::process::temporary_directory;
use testinium_testbed::release::{Registry, Release, Target};

/// Makes a release: the image for each architecture, the chart that names it by its digest, lists of what is linked, and
/// checksums. Pushes image and chart, pulls them back, and compares.
///
/// Log in to the registry before, by `docker login` or `crane auth login`.
#[derive(Debug, Parser)]
struct Arguments {
    /// The registry and the path in it that image and chart are pushed below, such as registry.example.com/testinium
    #[arg(long, value_name = "PLACE", required_unless_present = "rehearse")]
    registry: Option<String>,

    /// Push to a registry on this machine, which is gone at the end; the sources need not be committed
    #[arg(long, conflicts_with = "registry")]
    rehearse: bool,

    /// The machines that the image is for: amd64, arm64, or here for machines such as this one
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "amd64,arm64")]
    #[arg(value_parser = Architecture::from_name)]
    architectures: Vec<Architecture>,

    /// Where people find the sources, for the image's labels
    #[arg(long, value_name = "URL", default_value = "")]
    source: String,

    /// Leave the files of the release in this directory, in the place of everything that it holds
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// The reason why a step fails.
type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let origin = Origin::of(&repository, &arguments.source);
    is_ready(&repository, &origin, arguments.rehearse)?;
    let directory = arguments.directory.clone().unwrap_or_else(|| repository.join("target/release-files"));
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;

    say("Building the image");
    let places = Places::within(&repository.join("target/image"));
    let layout = build(&repository, &places, &arguments.architectures, &origin)?;
    let registry = arguments.rehearse.then(Registry::start).transpose()?;
    let target = match (&registry, &arguments.registry) {
        (Some(registry), _) => Target { prefix: format!("{}/testinium", registry.address()), is_plain: true },
        (None, Some(prefix)) => Target { prefix: prefix.trim_end_matches('/').to_owned(), is_plain: false },
        (None, None) => return Err("name a registry".into()),
    };
    let release = Release {
        repository: &repository,
        layout: &layout,
        origin: &origin,
        architectures: &arguments.architectures,
        directory: &directory,
        target: target.clone(),
    };

    say("Making its files");
    let home = temporary_directory("testinium-release-")?;
    let helm = Helm::obtain(home.path())?;
    let chart = release.write_files(&helm)?;
    print!("{}", fs::read_to_string(directory.join("SHA256SUMS"))?);

    say(&format!("Pushing to {}", target.prefix));
    release.push(&helm, &chart)?;
    say("Pulling it back");
    release.verify(&helm, &chart)?;
    println!("{}:{}@{}", target.image(), origin.version, layout.digest()?);
    println!("{}/testinium-operator:{}", target.charts(), origin.version);
    println!("{}", directory.display());
    Ok(())
}

/// A release is of a commit, and the list of changes has its version and its day. A rehearsal is of whatever is there,
/// whose version the list must have too.
fn is_ready(repository: &Path, origin: &Origin, is_rehearsal: bool) -> Result<(), Failure> {
    let changes = fs::read_to_string(repository.join("CHANGELOG.md"))?;
    let heading = format!("## [{}] - ", origin.version);
    let day = changes.lines().find_map(|line| line.strip_prefix(&heading));
    let day = day.ok_or_else(|| format!("CHANGELOG.md has no line that begins with {heading:?}"))?;
    if is_rehearsal {
        return Ok(());
    }
    if !origin.is_committed() {
        return Err(format!("commit everything first: the sources are {:?}", origin.revision).into());
    }
    if day.len() != "2026-01-02".len() || !day.starts_with("20") {
        return Err(format!("write the day of the release into CHANGELOG.md, in the place of {day:?}").into());
    }
    Ok(())
}

fn say(text: &str) {
    println!("\n=== {text}");
}
