//! The commands. Floor 5: the clap types, and each command in a file of its name.
//!
//! A command writes through the [`Output`] it is given and returns an [`Exit`]; only `main` exits.

mod allow;
mod bans;
mod cert;
mod check;
mod check_certificates;
mod check_diff;
mod check_machine;
mod check_mysql;
mod check_postgres;
mod check_scram;
mod checked;
mod connect;
mod connect_lines;
mod daemon;
mod hosts;
mod import;
mod latency;
mod learn;
mod output;
mod reload;
mod revoke;
mod run;
mod said;
mod schema;
mod sessions;
mod status;
mod table;
mod why;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use allow::AllowArgs;
pub use cert::{CertArgs, CertCommand, IssueArgs};
pub use connect::ConnectArgs;
pub use connect_lines::Client;
pub use import::{ImportArgs, ImportFormat, ImportProtocol};
pub use output::Output;
pub use revoke::RevokeArgs;

use crate::{
    config,
    server::{self, control::Refused},
};

/// How the process ends (sysexits where they exist).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Fine = 0,
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The question was answered, and the answer is no.
    No = 3,
    /// No daemon, or an address that cannot be bound.
    Unavailable = 69,
    /// Something must not be read.
    NotPermitted = 77,
    /// The configuration has errors.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&config::LoadError> for Exit {
    fn from(error: &config::LoadError) -> Self {
        match error {
            config::LoadError::Unreadable { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Self::NotPermitted
            }
            config::LoadError::Unreadable { .. } | config::LoadError::Problems(_) => {
                Self::Configuration
            }
        }
    }
}

impl From<Refused> for Exit {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Configuration => Self::Configuration,
            Refused::NotPermitted => Self::NotPermitted,
            Refused::AboveCeiling => Self::No,
            Refused::Busy => Self::Unavailable,
            Refused::AsksForYes | Refused::Request => Self::Failed,
        }
    }
}

/// The doorkeeper of a self-managed database.
#[derive(Debug, Parser)]
#[command(name = "doorward", version = server::VERSION, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The allowlist [default: /etc/doorward/allowlist.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The control socket of the daemon
    #[arg(long, global = true, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    #[arg(long, global = true, value_enum, default_value = "human")]
    pub format: Format,
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub color: Color,
    /// Say only what is wrong
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

impl Global {
    /// The allowlist that is meant.
    pub fn config_or_default(&self) -> PathBuf {
        self.config
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Human,
    Json,
    /// Workflow commands, for `check` alone
    Github,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stand in front of the database
    Run(RunArgs),
    /// Say everything that is wrong with an allowlist
    Check(CheckArgs),
    /// Explain who may come in, and why not
    Why(WhyArgs),
    /// Put the changed allowlist in force
    Reload(ReloadArgs),
    /// Let somebody in for a while
    Allow(AllowArgs),
    /// End what `allow` gave
    Revoke(RevokeArgs),
    /// Print the lines that a client needs
    Connect(ConnectArgs),
    /// Make an allowlist of what another gatekeeper has: `pg_hba.conf`, MySQL's accounts, a firewall
    Import(ImportArgs),
    /// Show who is connected and where the time goes
    Status(StatusArgs),
    /// Tell whether applications are near their database, and what the way between them costs
    Latency(LatencyArgs),
    /// List the live sessions, or end one
    Sessions(SessionsArgs),
    /// Show which strangers are not heard, or hear one again
    #[command(subcommand)]
    Bans(BansCommand),
    /// Draw up an allowlist from who really logged in
    Learn(LearnArgs),
    /// Keep a small CA for clients, and look at certificates
    Cert(CertArgs),
    /// Print the JSON Schema of the allowlist, for editors
    Schema,
}

#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Without a file: the protocol spoken, postgres or mysql
    #[arg(long, requires = "upstream", conflicts_with = "config")]
    pub protocol: Option<String>,
    /// Without a file: the database, as host:port, a unix socket, or its folder
    #[arg(
        long,
        requires = "protocol",
        requires = "listen",
        value_name = "ADDRESS"
    )]
    pub upstream: Option<String>,
    /// Without a file: where to accept connections; may be repeated
    #[arg(long, requires = "upstream", value_name = "ADDRESS:PORT")]
    pub listen: Vec<String>,
    /// Without a file: who may come in, an address or a network; may be repeated
    #[arg(long, requires = "upstream", value_name = "NETWORK")]
    pub allow: Vec<String>,
    /// Where metrics and health are served
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin_http: Option<String>,
    /// Where certificates and the last good allowlist are kept
    #[arg(long, value_name = "FOLDER")]
    pub state_dir: Option<PathBuf>,
    /// auto, json or text
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl RunArgs {
    /// The settings that the command line gives.
    pub fn overrides(&self, global: &Global) -> config::Overrides {
        config::Overrides {
            admin_http: self.admin_http.clone(),
            admin_socket: global.admin_socket.clone(),
            state_dir: self.state_dir.clone(),
            log_format: self.log_format.clone(),
            log_level: self.log_level.clone(),
        }
    }

    /// The one listener of a run without a file.
    pub fn listener(&self) -> Option<config::FlagListener> {
        Some(config::FlagListener {
            protocol: self.protocol.clone()?,
            upstream: self.upstream.clone()?,
            listen: self.listen.clone(),
            allow: self.allow.clone(),
        })
    }
}

#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Show it anew every two seconds, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

#[derive(Clone, Debug, Args)]
pub struct LatencyArgs {
    /// Watch this origin, then explain it at length
    pub origin: Option<String>,
    /// How many seconds it is watched, if Ctrl-C does not end it: 3600 at most, 0 to tell what is known [default: 10]
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=3600))]
    pub seconds: Option<u64>,
}

#[derive(Clone, Debug, Args)]
pub struct SessionsArgs {
    /// Only those that this origin admits; `_none` are those that only an observation admits
    #[arg(long, value_name = "NAME")]
    pub origin: Option<String>,
    /// End the session of this number
    #[arg(long, value_name = "ID", conflicts_with = "origin")]
    pub end: Option<u64>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum BansCommand {
    /// Those that hold now
    List,
    /// Hear a source again: an address, or its network of 64 bits
    Remove { source: String },
}

#[derive(Clone, Debug, Args)]
pub struct LearnArgs {
    /// Only from those that an observation let in
    #[arg(long)]
    pub observed: bool,
}

#[derive(Clone, Debug, Args)]
pub struct ReloadArgs {
    /// Go on where somebody at a terminal would be asked: when it shuts out everybody or more than half of the origins
    #[arg(long)]
    pub yes: bool,
}

#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The allowlist; otherwise that of --config
    pub file: Option<PathBuf>,
    /// Look at the text alone: no certificate, port or database
    #[arg(long)]
    pub offline: bool,
    /// Say which decisions change against the running gateway, and end with 3 if any do
    #[arg(long, conflicts_with = "offline")]
    pub diff: bool,
    /// End with 78 for a warning, too
    #[arg(long)]
    pub deny_warnings: bool,
}

#[derive(Clone, Debug, Args)]
pub struct WhyArgs {
    /// Where the client connects from
    #[arg(required_unless_present = "reference")]
    pub address: Option<String>,
    /// What a refused client was told instead of the reason: eight characters
    #[arg(
        long = "ref",
        value_name = "REF",
        conflicts_with_all = ["address", "user", "database", "listener", "tls", "replication", "at", "resolve", "certificate", "shown"]
    )]
    pub reference: Option<String>,
    /// The user that it logs in as; must be given, except with --ref
    #[arg(long, required_unless_present = "reference")]
    pub user: Option<String>,
    /// When absent the user's name, as PostgreSQL does; on MySQL none
    #[arg(long)]
    pub database: Option<String>,
    /// May be left out when there is one
    #[arg(long)]
    pub listener: Option<String>,
    /// The connection is encrypted, by TLS 1.3 or the version that is given
    #[arg(
        long,
        value_name = "VERSION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1.3"
    )]
    pub tls: Option<String>,
    /// The connection replicates: physical (as --replication alone says) or logical; on MySQL --replication alone
    #[arg(
        long,
        value_name = "KIND",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub replication: Option<String>,
    /// Another time than now, as RFC 3339 has it
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// The client shows the certificate of this PEM file, its chain behind it; it is judged by the CAs of `tls.client_ca`
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    #[command(flatten)]
    pub shown: ShownArgs,
    /// Addresses that stand in for DNS; may be repeated
    #[arg(long, value_name = "HOST=ADDRESS")]
    pub resolve: Vec<String>,
}

/// A certificate in words; it counts as valid.
#[derive(Clone, Debug, Args)]
#[group(id = "shown", multiple = true, conflicts_with = "certificate")]
pub struct ShownArgs {
    /// The client shows a valid certificate with this DNS name; may be repeated
    #[arg(long = "certificate-dns", value_name = "NAME")]
    pub dns: Vec<String>,
    /// The client shows a valid certificate with this URI; may be repeated
    #[arg(long = "certificate-uri", value_name = "URI")]
    pub uri: Vec<String>,
    /// The client shows the valid certificate of this SHA-256
    #[arg(long = "certificate-sha256", value_name = "HEX")]
    pub sha256: Option<String>,
}

/// Runs what the command line asks for. Ends by returning; the caller exits.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // help and version come this way too, on the standard output; nobody is left to tell when that is closed
            let _closed = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Fine
            };
        }
    };
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut output = Output::new(&cli.global, &mut out, &mut err);
    if cli.global.format == Format::Github && !matches!(cli.command, Command::Check(_)) {
        output.complain("error: `--format github` is for `check`");
        return Exit::Usage;
    }
    match &cli.command {
        Command::Check(arguments) => check::run(arguments, &cli.global, &mut output),
        Command::Why(arguments) => why::run(arguments, &cli.global, &mut output),
        Command::Run(arguments) => run::run(arguments, &cli.global, &mut output),
        Command::Connect(arguments) => connect::run(arguments, &cli.global, &mut output),
        Command::Import(arguments) => import::run(arguments, &mut output),
        Command::Reload(arguments) => reload::run(arguments, &cli.global, &mut output),
        Command::Schema => schema::run(&mut output),
        Command::Allow(arguments) => allow::run(arguments, &cli.global, &mut output),
        Command::Revoke(arguments) => revoke::run(arguments, &cli.global, &mut output),
        Command::Status(arguments) => status::run(arguments, &cli.global, &mut output),
        Command::Latency(arguments) => latency::run(arguments, &cli.global, &mut output),
        Command::Sessions(arguments) => sessions::run(arguments, &cli.global, &mut output),
        Command::Bans(command) => bans::run(command, &cli.global, &mut output),
        Command::Learn(arguments) => learn::run(arguments, &cli.global, &mut output),
        Command::Cert(arguments) => cert::run(arguments, &cli.global, &mut output),
    }
}

const DEFAULT_CONFIG: &str = "/etc/doorward/allowlist.yaml";
