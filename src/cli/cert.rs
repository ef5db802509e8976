//! `doorward cert`: a small CA for clients, and a look at any certificate. Floor 5.
//!
//! It asks no daemon and needs no allowlist; one that is there tells where the state directory is.

use std::{
    path::{Path, PathBuf, absolute},
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand, value_parser};
use serde::Serialize;

use super::{Exit, Global, Output, table::Table};
use crate::{
    config::{self, Environment, LoadError, Overrides},
    net::{
        ClientAuthority, Fingerprint, IssueError, Issued, Presented, Wish, Written, tls::TlsError,
    },
    server::status::rfc3339,
};

#[derive(Clone, Debug, Args)]
pub struct CertArgs {
    /// Where the CA for clients is [default: clients in the state directory]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    #[command(subcommand)]
    pub command: CertCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum CertCommand {
    /// Make a CA for clients and an empty revocation list
    Init,
    /// Make a certificate and its key
    Issue(IssueArgs),
    /// Show what was issued
    List,
    /// Take back a certificate
    Revoke {
        /// All certificates of a name, or the one of a serial number
        whom: String,
    },
    /// Show what a certificate proves
    Inspect {
        /// PEM; the client's own certificate first
        file: PathBuf,
    },
}

#[derive(Clone, Debug, Args)]
pub struct IssueArgs {
    /// The DNS name in it, as laptop or shop.example.com; its files are named after it
    pub name: String,
    /// A URI in it; may be repeated
    #[arg(long)]
    pub uri: Vec<String>,
    /// Its common name [default: the name]
    #[arg(long, value_name = "NAME")]
    pub cn: Option<String>,
    #[arg(long, default_value = "365", value_parser = value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Where its files are written
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub out: PathBuf,
}

/// Does what is asked, in the folder of the CA.
pub(super) fn run(arguments: &CertArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    match Place::of(arguments.dir.as_deref(), global) {
        Ok(place) => {
            let desk = Desk {
                authority: ClientAuthority::new(full(&place.folder)),
                unsaid: place.unsaid,
                now: SystemTime::now(),
            };
            desk.serve(&arguments.command, output)
        }
        Err(error) => {
            output.complain(format_args!("error: {error}"));
            Exit::from(&error)
        }
    }
}

/// Where the CA is.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    /// Why nobody has said so.
    unsaid: Option<String>,
}

impl Place {
    /// An allowlist that was named has to be there, or the CA would be made where nobody looks for it.
    fn of(dir: Option<&Path>, global: &Global) -> Result<Self, LoadError> {
        let (environment, flags) = (Environment::of_process(), Overrides::default());
        let file = global.config_or_default();
        let (places, why) = match config::places_in(&file, &environment, &flags) {
            Ok(places) => (places, format!("{} has no `state_dir`", file.display())),
            Err(error) if global.config.is_some() => return Err(error),
            Err(error) => {
                let places = config::places(&file, &environment, &flags);
                (places, error.to_string())
            }
        };
        Ok(match dir {
            Some(folder) => Self {
                folder: folder.to_owned(),
                unsaid: None,
            },
            None => Self {
                folder: places.state_dir.join(ClientAuthority::FOLDER),
                unsaid: (!places.state_dir_given).then_some(why),
            },
        })
    }
}

/// Where a path is found from anywhere.
fn full(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_no_current_folder| path.to_owned())
}

/// The CA, at a moment.
struct Desk {
    authority: ClientAuthority,
    /// Why nobody has said where the CA is.
    unsaid: Option<String>,
    now: SystemTime,
}

impl Desk {
    fn serve(&self, command: &CertCommand, output: &mut Output<'_>) -> Exit {
        let served = match command {
            CertCommand::Init => self.init(output),
            CertCommand::Issue(arguments) => self.issue(arguments, output),
            CertCommand::List => self.list(output),
            CertCommand::Revoke { whom } => self.revoke(whom, output),
            CertCommand::Inspect { file } => self.inspect(file, output),
        };
        served.unwrap_or_else(|error| {
            output.complain(format_args!("error: {error}"));
            Exit::from(&error)
        })
    }

    fn init(&self, output: &mut Output<'_>) -> Result<Exit, CertError> {
        let made = self.authority.found(self.now)?;
        let ca = self.authority.presented()?;
        let (at_ca, at_list) = (self.authority.ca(), self.authority.list());
        let answer = InitAnswer {
            made,
            client_ca: at_ca.display().to_string(),
            crl: at_list.display().to_string(),
            issuer: hash(ca.key),
            ends: rfc3339(ca.certificate.ends),
        };
        if let Some(why) = &self.unsaid {
            let folder = at_ca.parent().unwrap_or(&at_ca).display();
            output.complain(format_args!(
                "note: it is in {folder}, the usual place of this user: {why}\n\
                 hint: --config names the allowlist of the daemon, --dir the folder"
            ));
        }
        output.answer(&answer, || {
            let head = if made {
                "a CA for clients is made; whoever has its ca.key can make clients".to_owned()
            } else {
                format!("there is a CA for clients, until {}", answer.ends)
            };
            let (ca, list) = (yaml(&answer.client_ca), yaml(&answer.crl));
            format!(
                "{head}\nin the allowlist:\n  tls:\n    client_ca: {ca}\n    crl: {list}\n\
                 next: doorward cert issue NAME"
            )
        });
        Ok(Exit::Fine)
    }

    fn issue(&self, arguments: &IssueArgs, output: &mut Output<'_>) -> Result<Exit, CertError> {
        let wish = Wish {
            name: arguments.name.clone(),
            uris: arguments.uri.clone(),
            cn: arguments.cn.clone(),
            life: DAY * arguments.days,
        };
        let written = self
            .authority
            .issue(&wish, &full(&arguments.out), self.now)?;
        let answer = IssueAnswer::of(&written);
        output.answer(&answer, || {
            let IssueAnswer {
                certificate, key, ..
            } = &answer;
            let it = &answer.it;
            let name = it.dns.first().map_or("", String::as_str);
            format!(
                "{name} until {}, serial {}\n  {certificate}\n  {key}  (for the client alone)\n\
                 PostgreSQL's clients:  sslcert={certificate} sslkey={key}\n\
                 MySQL's clients:       ssl-cert={certificate} ssl-key={key}\n\
                 in an origin:\n  proof:\n    certificate: {{dns: {name}}}",
                it.ends, it.serial,
            )
        });
        Ok(Exit::Fine)
    }

    fn list(&self, output: &mut Output<'_>) -> Result<Exit, CertError> {
        let issued = self.authority.issued()?;
        let answer: Vec<_> = issued.iter().map(ListAnswer::of).collect();
        output.answer(&answer, || {
            if issued.is_empty() {
                return "nothing is issued: doorward cert issue NAME".to_owned();
            }
            let mut table = Table::new(&["SERIAL", "NAMES", "ENDS", "STATE"]);
            for (one, line) in issued.iter().zip(&answer) {
                let state = match &line.revoked {
                    Some(since) => format!("revoked {}", day(since)),
                    None if one.presented.certificate.ends <= self.now => "ended".to_owned(),
                    None => "good".to_owned(),
                };
                table.row([
                    line.it.serial.clone(),
                    line.it.names(),
                    day(&line.it.ends),
                    state,
                ]);
            }
            table.to_string().trim_end().to_owned()
        });
        Ok(Exit::Fine)
    }

    fn revoke(&self, whom: &str, output: &mut Output<'_>) -> Result<Exit, CertError> {
        let revoked = self.authority.revoke(whom, self.now)?;
        let answer = RevokeAnswer {
            revoked: revoked.iter().map(Names::of).collect(),
            crl: self.authority.list().display().to_string(),
        };
        output.answer(&answer, || {
            let mut lines: Vec<_> = answer
                .revoked
                .iter()
                .map(|one| format!("revoked {} ({})", one.serial, one.names()))
                .collect();
            lines.push(if lines.is_empty() {
                format!("{whom} was revoked before; the list is {}", answer.crl)
            } else {
                format!("in force as soon as doorward has {}", answer.crl)
            });
            lines.join("\n")
        });
        Ok(Exit::Fine)
    }

    fn inspect(&self, file: &Path, output: &mut Output<'_>) -> Result<Exit, CertError> {
        let presented = Presented::read(file)?;
        let judgement = self.judgement(&presented)?;
        let answer = InspectAnswer::of(file, &presented, &judgement);
        let exit = match judgement {
            Judgement::NoAuthority | Judgement::Itself { .. } | Judgement::Good { .. } => {
                Exit::Fine
            }
            Judgement::Bad(_) => Exit::No,
        };
        output.answer(&answer, || answer.text());
        Ok(exit)
    }

    fn judgement(&self, presented: &Presented) -> Result<Judgement, CertError> {
        if !self.authority.ca().exists() {
            return Ok(Judgement::NoAuthority);
        }
        let ca = self.authority.presented()?;
        if ca.certificate.sha256 == presented.certificate.sha256 {
            return Ok(Judgement::Itself { key: ca.key });
        }
        let trust = self.authority.trust()?;
        Ok(match trust.fault(&presented.chain, self.now) {
            None => Judgement::Good { issuer: ca.key },
            Some(fault) => Judgement::Bad(fault.to_string()),
        })
    }
}

/// What the CA in the folder says of a certificate.
enum Judgement {
    /// There is none in the folder.
    NoAuthority,
    Itself {
        key: [u8; 32],
    },
    Good {
        issuer: [u8; 32],
    },
    Bad(String),
}

/// Why a command of `cert` has failed.
#[derive(Debug, thiserror::Error)]
enum CertError {
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl From<&CertError> for Exit {
    fn from(error: &CertError) -> Self {
        match error {
            CertError::Issue(error) if error.is_permission() => Self::NotPermitted,
            CertError::Tls(error) if error.is_permission() => Self::NotPermitted,
            CertError::Issue(
                IssueError::BadName(_) | IssueError::BadUri(_) | IssueError::BadCommonName(_),
            ) => Self::Usage,
            CertError::Issue(_) | CertError::Tls(_) => Self::Failed,
        }
    }
}

#[derive(Debug, Serialize)]
struct InitAnswer {
    made: bool,
    client_ca: String,
    crl: String,
    /// The hash of the CA's key, as `proof.certificate.issuer` wants it.
    issuer: String,
    ends: String,
}

/// What tells one certificate from another.
#[derive(Debug, Serialize)]
struct Names {
    serial: String,
    dns: Vec<String>,
    uri: Vec<String>,
    cn: Option<String>,
    sha256: String,
    ends: String,
}

#[derive(Debug, Serialize)]
struct IssueAnswer {
    certificate: String,
    key: String,
    #[serde(flatten)]
    it: Names,
}

#[derive(Debug, Serialize)]
struct ListAnswer {
    #[serde(flatten)]
    it: Names,
    revoked: Option<String>,
}

#[derive(Debug, Serialize)]
struct RevokeAnswer {
    revoked: Vec<Names>,
    crl: String,
}

#[derive(Debug, Serialize)]
struct InspectAnswer {
    file: String,
    #[serde(flatten)]
    it: Names,
    /// The hash of its key: what `issuer` wants of a CA.
    key: String,
    /// The hash of its CA's key; known of the folder's CA alone.
    issuer: Option<String>,
    issuer_name: String,
    /// `None` where there is no CA to ask, and of the CA itself.
    valid: Option<bool>,
    judgement: String,
}

impl Names {
    fn of(presented: &Presented) -> Self {
        let certificate = &presented.certificate;
        Self {
            serial: presented.serial.to_string(),
            dns: certificate.dns.clone(),
            uri: certificate.uri.clone(),
            cn: certificate.cn.clone(),
            sha256: hash(certificate.sha256),
            ends: rfc3339(certificate.ends),
        }
    }

    /// All of them; a common name that repeats another is left out.
    fn names(&self) -> String {
        let cn = self.cn.iter().filter(|cn| !self.dns.contains(cn));
        let all: Vec<_> = self.dns.iter().chain(&self.uri).chain(cn).collect();
        all.into_iter().cloned().collect::<Vec<_>>().join(", ")
    }
}

impl IssueAnswer {
    fn of(written: &Written) -> Self {
        Self {
            certificate: written.certificate.display().to_string(),
            key: written.key.display().to_string(),
            it: Names::of(&written.presented),
        }
    }
}

impl ListAnswer {
    fn of(issued: &Issued) -> Self {
        Self {
            it: Names::of(&issued.presented),
            revoked: issued.revoked.map(rfc3339),
        }
    }
}

impl InspectAnswer {
    fn of(file: &Path, presented: &Presented, judgement: &Judgement) -> Self {
        let (valid, issuer, text) = match judgement {
            Judgement::NoAuthority => (None, None, "no CA of ours is here to judge it".to_owned()),
            Judgement::Itself { key } => {
                let text = "it is the CA for clients".to_owned();
                (None, Some(hash(*key)), text)
            }
            Judgement::Good { issuer } => {
                let text = "good: the CA for clients has made it".to_owned();
                (Some(true), Some(hash(*issuer)), text)
            }
            Judgement::Bad(fault) => (
                Some(false),
                None,
                format!("no good: the certificate {fault}"),
            ),
        };
        Self {
            file: file.display().to_string(),
            it: Names::of(presented),
            key: hash(presented.key),
            issuer,
            issuer_name: presented.issuer.clone(),
            valid,
            judgement: text,
        }
    }

    fn text(&self) -> String {
        let list = |names: &[String]| match names {
            [] => "-".to_owned(),
            names => names.join(", "),
        };
        let none = || "-".to_owned();
        let issuer = self.issuer.clone().unwrap_or_else(none);
        let mut table = Table::new(&["dns", &list(&self.it.dns)]);
        for (key, value) in [
            ("uri", list(&self.it.uri)),
            ("cn", self.it.cn.clone().unwrap_or_else(none)),
            ("sha256", self.it.sha256.clone()),
            ("issuer", format!("{issuer}  ({})", self.issuer_name)),
            ("key", self.key.clone()),
            ("ends", self.it.ends.clone()),
            ("serial", self.it.serial.clone()),
        ] {
            table.row([key.to_owned(), value]);
        }
        format!("{table}{}", self.judgement)
    }
}

/// As the allowlist has it.
fn hash(sha256: [u8; 32]) -> String {
    format!("sha256:{}", Fingerprint(sha256))
}

/// The day of a time that is written out.
fn day(rfc3339: &str) -> String {
    rfc3339.split('T').next().unwrap_or_default().to_owned()
}

/// A path as a YAML value; JSON's strings are such.
fn yaml(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.starts_with('/') && path.chars().all(is_plain) {
        path.to_owned()
    } else {
        serde_json::Value::from(path).to_string()
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
#[path = "cert_tests.rs"]
mod tests;
