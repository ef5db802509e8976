//! `doorward import`: another gatekeeper's list becomes an allowlist. Floor 5.
//!
//! What cannot be said in origins is left out and named, never widened; where leaving it out would admit more than the list
//! did, nothing is imported at all. What is printed has been read by the loader before.

mod aws_sg;
mod digitalocean;
mod draw;
mod firewall;
mod flatten;
mod hba_lines;
mod hba_names;
mod mysql_hosts;
mod mysql_users;
mod pg_hba;
mod region;
mod rule;
#[cfg(test)]
mod tests;
mod ufw;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Exit, Format, Output};
use crate::config::{
    self, Draft, DraftListener, DraftSettings, Environment, Loaded, MAX_FILE, Overrides, Problems,
    Protocol,
};
use draw::Manner;
use firewall::Scope;
use flatten::{Flat, Piece};
use region::{Addresses, NameSet, Ways};
use rule::{Remark, Rule, Weight};

#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// What the file is
    #[arg(value_enum, value_name = "FORMAT")]
    pub list: ImportFormat,
    /// The file, or - for the standard input
    pub file: PathBuf,
    /// Write no listener: a file for another's `include`, whose origins name the listener of --listener if that is given
    #[arg(long)]
    pub origins_only: bool,
    /// The listener's name
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// Where it accepts connections; may be repeated [default: 0.0.0.0:6432, or 0.0.0.0:3307 for MySQL]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Vec<String>,
    /// The database behind it [default: 127.0.0.1 and its usual port]
    #[arg(long, value_name = "ADDRESS")]
    pub upstream: Option<String>,
    /// The CA of client certificates, where the list asks for them
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// Go on admitting connections that are not encrypted, where the list does
    #[arg(long)]
    pub clear: bool,
    /// Of a firewall's list: the database's protocol
    #[arg(long, value_enum, default_value = "postgres")]
    pub protocol: ImportProtocol,
    /// Of a firewall's list: the port that its rules name [default: the protocol's]
    #[arg(long)]
    pub port: Option<u16>,
    /// Of a firewall's list: as whom its clients connect; may be repeated
    #[arg(long = "user", value_name = "USER")]
    pub users: Vec<String>,
    /// Of a firewall's list: what they open; may be repeated
    #[arg(long = "database", value_name = "DATABASE")]
    pub databases: Vec<String>,
    /// Of MySQL's accounts: the address at which the server sees the gateway [default: from --upstream]
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<String>,
}

/// Whose list it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// PostgreSQL's `pg_hba.conf`
    PgHba,
    /// What `SELECT user, host, ssl_type FROM mysql.user` prints
    MysqlUsers,
    /// Trusted sources or a cloud firewall, as JSON
    Digitalocean,
    /// What aws ec2 describe-security-groups prints
    AwsSg,
    /// What ufw show added prints
    Ufw,
}

/// A protocol on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportProtocol {
    Postgres,
    Mysql,
}

/// What a list was found to say.
#[derive(Debug, Default)]
struct Found {
    rules: Vec<Rule>,
    remarks: Vec<Remark>,
    /// Statements that the server's accounts need.
    rename: Vec<String>,
}

impl Found {
    /// Something about the list as a whole.
    fn note(&mut self, text: impl Into<String>) {
        self.remarks.push(Remark::general(text));
    }
}

/// Prints the file on the standard output and what is to be known about it on the other; 1 where nothing was imported.
pub(super) fn run(arguments: &ImportArgs, output: &mut Output<'_>) -> Exit {
    let text = if arguments.file == Path::new("-") {
        bounded(io::stdin())
    } else {
        read_text(&arguments.file)
    };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            let file = arguments.file.display();
            output.complain(format_args!("error: cannot read {file}: {error}"));
            return if error.kind() == io::ErrorKind::PermissionDenied {
                Exit::NotPermitted
            } else {
                Exit::Failed
            };
        }
    };
    match import(arguments, &text) {
        Ok(imported) => imported.print(arguments, output),
        Err(Failure::Unread(why)) => {
            let file = arguments.file.display();
            output.complain(format_args!("error: {file}: {why}"));
            Exit::Failed
        }
        Err(Failure::Settings(problems)) => {
            output.complain(problems);
            Exit::Usage
        }
    }
}

/// Why there is nothing to print.
enum Failure {
    /// The file is not what it was said to be.
    Unread(String),
    /// A listener like this cannot be.
    Settings(Problems),
}

struct Imported {
    remarks: Vec<Remark>,
    rename: Vec<String>,
    /// Nothing where the import was stopped.
    draft: Option<Draft>,
}

fn import(arguments: &ImportArgs, text: &str) -> Result<Imported, Failure> {
    let settings = arguments.settings();
    let frame = Draft {
        settings: Some(settings.clone()),
        ..Draft::default()
    };
    let frame = accepted(&frame).map_err(Failure::Settings)?;
    let source = arguments.source();
    let mut found = arguments.read(text, &source).map_err(Failure::Unread)?;
    let mut flat = flatten::flatten(&found.rules, &frame.rules.protected_users);
    found.remarks.append(&mut flat.remarks);
    let is_host = |piece: &Piece| matches!(piece.region.addresses, Addresses::Host { .. });
    if flat.admitted.iter().any(is_host) {
        found.note("of a host's addresses private ones do not count, lest somebody bends its name to the inside: `private: true` beside `host` lets them");
    }
    if arguments.origins_only {
        found.remarks.extend(of_an_include(&flat));
    }
    found.remarks.sort_by(|one, other| {
        let key = |remark: &Remark| (remark.weight, remark.places.is_empty());
        key(one)
            .cmp(&key(other))
            .then_with(|| one.places.cmp(&other.places))
    });
    found.remarks.dedup();
    let stopped = found
        .remarks
        .iter()
        .any(|remark| remark.weight == Weight::Stopped);
    let manner = Manner {
        source: source.to_string(),
        listener: arguments
            .listener
            .clone()
            .filter(|_| arguments.origins_only),
        clear: arguments.clear,
    };
    let mut draft = Draft {
        head: head(&source, &found.remarks),
        settings: Some(settings),
        origins: draw::origins(&flat, &manner),
        deny: draw::deny(&flat, &manner),
    };
    if !stopped {
        let long = draft.to_string().len();
        if long > MAX_FILE {
            return Err(Failure::Unread(format!(
                "its origins make a file of {long} bytes, and {MAX_FILE} are read: import it in parts"
            )));
        }
        accepted(&draft).map_err(Failure::Settings)?;
    }
    if arguments.origins_only {
        draft.settings = None;
    }
    Ok(Imported {
        remarks: found.remarks,
        rename: found.rename,
        draft: (!stopped).then_some(draft),
    })
}

/// What the origins of an included file ask of the file that includes it.
fn of_an_include(flat: &Flat) -> Vec<Remark> {
    let leans =
        |piece: &Piece| matches!(&piece.region.users, NameSet::AllBut(but) if !but.is_empty());
    let mut remarks = Vec::new();
    if let Some(piece) = flat.admitted.iter().find(|piece| leans(piece)) {
        let text = "leaves protected users out by `protected_users` alone: keep them there";
        remarks.push(Remark::note(&piece.place, text));
    }
    if !flat.denied.is_empty() {
        let text = "its deny rules hold for the origins of all other files, too";
        remarks.push(Remark::general(text));
    }
    remarks
}

/// What the loader makes of a file.
fn accepted(draft: &Draft) -> Result<Loaded, Problems> {
    let environment = Environment::default();
    let text = draft.to_string();
    config::parse(
        "what would be imported",
        &text,
        &environment,
        &Overrides::default(),
        SystemTime::now(),
    )
}

/// The lines at the head of the file: what is missing in it is not forgotten.
fn head(source: &str, remarks: &[Remark]) -> Vec<String> {
    let left_out = remarks
        .iter()
        .filter(|remark| remark.weight == Weight::LeftOut);
    let mut lines = vec![format!(
        "Imported from {source}. Look it over, then: doorward check FILE"
    )];
    lines.extend(left_out.take(MAX_HEAD).map(ToString::to_string));
    lines
}

impl ImportArgs {
    fn protocol(&self) -> Protocol {
        match (self.list, self.protocol) {
            (ImportFormat::PgHba, _) => Protocol::Postgres,
            (ImportFormat::MysqlUsers, _) | (_, ImportProtocol::Mysql) => Protocol::Mysql,
            (_, ImportProtocol::Postgres) => Protocol::Postgres,
        }
    }

    fn settings(&self) -> DraftSettings {
        let protocol = self.protocol();
        let (name, listen, upstream) = match protocol {
            Protocol::Postgres => ("pg", "0.0.0.0:6432", "127.0.0.1:5432"),
            Protocol::Mysql => ("mysql", "0.0.0.0:3307", "127.0.0.1:3306"),
        };
        let listen = if self.listen.is_empty() {
            vec![listen.to_owned()]
        } else {
            self.listen.clone()
        };
        DraftSettings {
            listener: DraftListener {
                name: self.listener.clone().unwrap_or_else(|| name.to_owned()),
                protocol,
                listen,
                upstream: self.upstream.clone().unwrap_or_else(|| upstream.to_owned()),
            },
            client_ca: self.client_ca.clone(),
            clear: self.clear,
        }
    }

    /// What people call the file.
    fn source(&self) -> Arc<str> {
        if self.file == Path::new("-") {
            return "the standard input".into();
        }
        let name = self.file.file_name().unwrap_or(self.file.as_os_str());
        name.to_string_lossy().into()
    }

    fn read(&self, text: &str, source: &Arc<str>) -> Result<Found, String> {
        let ways = if self.clear { Ways::ALL } else { Ways::TLS };
        let names = |names: &[String]| match names {
            [] => NameSet::all(),
            names => NameSet::only(names.iter().map(String::as_str)),
        };
        let scope = Scope {
            users: names(&self.users),
            databases: names(&self.databases),
            ways,
            port: self.port.unwrap_or_else(|| match self.protocol() {
                Protocol::Postgres => 5432,
                Protocol::Mysql => 3306,
            }),
        };
        match self.list {
            ImportFormat::PgHba => {
                let folder = self.file.parent().filter(|_| self.file != Path::new("-"));
                Ok(pg_hba::read(text, source, folder, self.clear))
            }
            ImportFormat::MysqlUsers => {
                let server = mysql_users::Server {
                    gateway: self.gateway(),
                    clear: self.clear,
                };
                mysql_users::read(text, source, &server)
            }
            ImportFormat::Digitalocean => digitalocean::read(text, &scope),
            ImportFormat::AwsSg => aws_sg::read(text, &scope),
            ImportFormat::Ufw => Ok(ufw::read(text, source, &scope)),
        }
    }

    /// As whom a MySQL server sees the gateway.
    fn gateway(&self) -> String {
        if let Some(gateway) = &self.gateway {
            return gateway.clone();
        }
        let upstream = self.upstream.as_deref().unwrap_or("127.0.0.1");
        if upstream.starts_with('/') {
            "localhost".to_owned()
        } else if upstream.starts_with("127.") || upstream.starts_with("localhost") {
            "127.0.0.1".to_owned()
        } else {
            "GATEWAY".to_owned()
        }
    }
}

impl Imported {
    fn print(&self, arguments: &ImportArgs, output: &mut Output<'_>) -> Exit {
        let exit = if self.draft.is_some() {
            Exit::Fine
        } else {
            Exit::Failed
        };
        let yaml = self.draft.as_ref().map(ToString::to_string);
        if output.format == Format::Json {
            let remarks: Vec<_> = self.remarks.iter().map(Remark::json).collect();
            output.say_json(&json!({
                "yaml": yaml,
                "origins": self.draft.as_ref().map(|draft| draft.origins.len()),
                "deny": self.draft.as_ref().map(|draft| draft.deny.len()),
                "remarks": remarks,
                "rename": self.rename,
            }));
            return exit;
        }
        if let Some(yaml) = yaml {
            // it ends its last line itself
            output.say(yaml.trim_end());
        }
        for remark in &self.remarks {
            if !(output.quiet && remark.weight == Weight::Note) {
                output.complain(remark);
            }
        }
        for statement in &self.rename {
            output.complain(statement);
        }
        output.complain(self.summary(arguments));
        exit
    }

    fn summary(&self, arguments: &ImportArgs) -> String {
        let counted = |number: usize, what: &str| {
            let plural = if number == 1 { "" } else { "s" };
            format!("{number} {what}{plural}")
        };
        let of = |weight| {
            self.remarks
                .iter()
                .filter(|remark| remark.weight == weight)
                .count()
        };
        let source = arguments.source();
        let Some(draft) = &self.draft else {
            let stops = counted(of(Weight::Stopped), "thing");
            return format!(
                "nothing was imported from {source}: {stops} must be changed in a copy of it first"
            );
        };
        let origins = counted(draft.origins.len(), "origin");
        let denied = counted(draft.deny.len(), "deny rule");
        let left = of(Weight::LeftOut);
        format!("{source} became {origins} and {denied}; {left} left out")
    }
}

/// The text of a file that is not too large.
fn read_text(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    bounded(file)
}

fn bounded(source: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(hba_lines::MAX_BYTES + 1).unwrap_or(u64::MAX);
    source.take(most).read_to_end(&mut bytes)?;
    if bytes.len() > hba_lines::MAX_BYTES {
        let text = format!("it is larger than {} bytes", hba_lines::MAX_BYTES);
        return Err(io::Error::other(text));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error
            .as_bytes()
            .iter()
            .take(good)
            .filter(|byte| **byte == b'\n')
            .count();
        io::Error::other(format!("line {line} is not UTF-8"))
    })
}

/// Left-out rules that the head of the file names.
const MAX_HEAD: usize = 50;
