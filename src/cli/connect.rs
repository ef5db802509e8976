//! `doorward connect`: the exact lines that a client needs. Floor 5.
//!
//! They are made of the file, and of what the daemon says of its certificate where one runs.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{
    Exit, Format, Global, Output,
    connect_lines::{Client, Target, traps},
};
use crate::{
    config::{self, Environment, Listener, Loaded, Overrides, Protocol},
    net::{Presented, certificate::Authority},
    policy::{Names, Origin, Proof},
    server::control::{self, Answer, Request},
};

#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// Whose configuration
    #[arg(long = "for", value_enum, value_name = "CLIENT")]
    pub client: Client,
    /// As whom the allowlist knows it [default: the only origin there is]
    #[arg(long, value_name = "NAME")]
    pub origin: Option<String>,
    /// The listener, where the origin may use several that the client speaks to
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// The name that clients reach the gateway by [default: the first of its certificate]
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Where the CA's certificate will be on the client's machine
    #[arg(long, value_name = "FILE")]
    pub ca: Option<String>,
}

/// Prints the lines, what must be copied before, and what commonly goes wrong.
pub(super) fn run(arguments: &ConnectArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    let file = global.config_or_default();
    let loaded = match config::load(&file, &Overrides::default()) {
        Ok(loaded) => loaded,
        Err(error) => return output.load_failed(&error),
    };
    let shown = Shown::of(&loaded, global);
    match advise(arguments, &loaded, &shown) {
        Ok(advice) => {
            match output.format {
                Format::Json => output.say_json(&advice.json(arguments.client)),
                Format::Human | Format::Github => advice.say(arguments.client, output),
            }
            Exit::Fine
        }
        Err(why) => {
            output.complain(format_args!("error: {why}"));
            Exit::Usage
        }
    }
}

/// The certificate that clients will see, as far as it can be looked at.
#[derive(Debug, Default)]
struct Shown {
    /// The CA of our own that made it.
    ca: Option<PathBuf>,
    names: Vec<String>,
}

impl Shown {
    fn of(loaded: &Loaded, global: &Global) -> Self {
        let settings = &loaded.settings;
        let names = |path: &Path| {
            let presented = Presented::read(path).ok();
            presented.map_or_else(Vec::new, |presented| presented.certificate.dns)
        };
        let further = settings.tls.further.iter();
        let further = further.flat_map(|files| names(&files.certificate));
        if let Some(files) = &settings.tls.files {
            let first = names(&files.certificate).into_iter();
            return Self {
                ca: None,
                names: first.chain(further).collect(),
            };
        }
        // a daemon may have been told of another state directory than this command
        let ca = asked(global, loaded).unwrap_or_else(|| Authority::new(&settings.state_dir).ca());
        let first = names(&ca.with_file_name("server.crt")).into_iter();
        Self {
            names: first.chain(further).collect(),
            ca: Some(ca),
        }
    }
}

/// The path of the CA that a running daemon gives.
fn asked(global: &Global, loaded: &Loaded) -> Option<PathBuf> {
    let sockets = match (&global.admin_socket, &global.config) {
        (Some(socket), _) => vec![socket.clone()],
        (None, Some(_)) => vec![loaded.settings.admin.socket.clone()],
        (None, None) => config::admin_sockets(&Environment::of_process()),
    };
    sockets.iter().find_map(|socket| {
        let Answer::Status(status) = control::ask(socket, &Request::Status).ok()? else {
            return None;
        };
        status.certificate.ca.map(PathBuf::from)
    })
}

/// What a person is told.
struct Advice {
    target: Target,
    origin: Option<String>,
    listener: String,
    /// Where the CA is now, if it is ours.
    ca: Option<PathBuf>,
    /// What is to be done or looked at before.
    notes: Vec<String>,
}

fn advise(arguments: &ConnectArgs, loaded: &Loaded, shown: &Shown) -> Result<Advice, String> {
    let mut notes = Vec::new();
    let origin = origin(arguments, loaded, &mut notes)?;
    let listener = listener(arguments, loaded, origin)?;
    let protocol = listener.protocol;
    let host = host(arguments, loaded, shown, listener, &mut notes);
    let first = |names: Option<&Names>, placeholder: &str| {
        match names {
            Some(Names::Listed(names)) => names.first().cloned(),
            Some(Names::Any) | None => None,
        }
        .unwrap_or_else(|| placeholder.to_owned())
    };
    let user = first(origin.map(|origin| &origin.users), "USER");
    let database = first(origin.map(|origin| &origin.databases), "DATABASE");
    if let Some(origin) =
        origin.filter(|origin| origin.replication.is_some() && protocol == Protocol::Postgres)
    {
        notes.push(format!(
            "\"{}\" is for replication: no application can use it",
            origin.name
        ));
    }
    let ca = arguments.ca.clone().unwrap_or_else(|| {
        if shown.ca.is_some() {
            OUR_CA
        } else {
            PUBLIC_CAS
        }
        .to_owned()
    });
    match &shown.ca {
        Some(own) => notes.push(format!(
            "copy {} to {ca} on the client's machine",
            own.display()
        )),
        None if arguments.ca.is_none() => notes.push(format!(
            "{PUBLIC_CAS} is for a certificate of a public CA; of another give the file with --ca"
        )),
        None => {}
    }
    let proof = origin.and_then(|origin| origin.proof.as_ref());
    let identity = proof.map(|proof| {
        let name = certificate_name(proof);
        let files = (format!("/etc/ssl/{name}.crt"), format!("/etc/ssl/{name}.key"));
        notes.push(format!(
            "the origin asks for a client certificate: `doorward cert issue {name}` makes it; its key is for the application alone (mode 0600)"
        ));
        files
    });
    let port = listener
        .listen
        .first()
        .map_or(0, std::net::SocketAddr::port);
    Ok(Advice {
        target: Target {
            protocol,
            host,
            port,
            user,
            database,
            ca,
            identity,
        },
        origin: origin.map(|origin| origin.name.to_string()),
        listener: listener.name.to_string(),
        ca: shown.ca.clone(),
        notes,
    })
}

/// The origin that is meant; none where the file has several and nobody says which.
fn origin<'l>(
    arguments: &ConnectArgs,
    loaded: &'l Loaded,
    notes: &mut Vec<String>,
) -> Result<Option<&'l Origin>, String> {
    let origins = &loaded.rules.origins;
    let names = || {
        let names: Vec<_> = origins
            .iter()
            .take(MAX_NAMED)
            .map(|origin| &*origin.name)
            .collect();
        names.join(", ")
    };
    if let Some(name) = &arguments.origin {
        let found = origins.iter().find(|origin| *origin.name == **name);
        return match found {
            Some(origin) => Ok(Some(origin)),
            None if origins.is_empty() => Err("there is no origin".to_owned()),
            None => Err(format!(
                "there is no origin `{name}`; there are {}",
                names()
            )),
        };
    }
    match origins.as_slice() {
        [only] => Ok(Some(only)),
        [] => {
            notes.push("there is no origin yet: nobody is admitted".to_owned());
            Ok(None)
        }
        _ => {
            notes.push(format!(
                "`--origin` fills in user and database; there are {}",
                names()
            ));
            Ok(None)
        }
    }
}

fn listener<'l>(
    arguments: &ConnectArgs,
    loaded: &'l Loaded,
    origin: Option<&Origin>,
) -> Result<&'l Listener, String> {
    let speaks = |listener: &&std::sync::Arc<Listener>| {
        let asked = arguments.listener.as_ref();
        asked.is_none_or(|name| *listener.name == **name)
            && origin.is_none_or(|origin| origin.listeners.contains(&listener.name))
            && arguments
                .client
                .protocol()
                .is_none_or(|protocol| protocol == listener.protocol)
    };
    let found = loaded.settings.listeners.iter().find(speaks);
    found.map(|listener| &**listener).ok_or_else(|| {
        let whose = origin.map_or_else(String::new, |origin| {
            format!(" that \"{}\" may use", origin.name)
        });
        match arguments.client.protocol() {
            Some(protocol) => format!("there is no {} listener{whose}", protocol.label()),
            None => format!("there is no such listener{whose}"),
        }
    })
}

/// A name that the client finds in the certificate.
fn host(
    arguments: &ConnectArgs,
    loaded: &Loaded,
    shown: &Shown,
    listener: &Listener,
    notes: &mut Vec<String>,
) -> String {
    let names = || loaded.settings.tls.names.iter().chain(&shown.names);
    if let Some(host) = &arguments.host {
        let fits = names().any(|name| covers(name, host));
        if !fits && host.parse::<IpAddr>().is_err() && names().next().is_some() {
            notes.push(format!(
                "the certificate is not for {host}: add it to `tls.names`"
            ));
        }
        return host.clone();
    }
    let mut usable = names().filter(|name| !name.contains('*') && *name != "localhost");
    if let Some(name) = usable.next() {
        return name.clone();
    }
    let bound = listener.listen.iter().map(std::net::SocketAddr::ip);
    let mut bound = bound.filter(|address| !address.is_unspecified());
    bound.next().map_or_else(
        || {
            notes.push(
                "HOST is the name that clients reach the gateway by: `tls.names` must have it"
                    .to_owned(),
            );
            "HOST".to_owned()
        },
        |address| address.to_string(),
    )
}

/// Whether a name of a certificate is good for a host: a wildcard stands for one label.
fn covers(name: &str, host: &str) -> bool {
    let rest = name.strip_prefix('*').filter(|rest| rest.starts_with('.'));
    match rest {
        Some(rest) => host
            .split_once('.')
            .is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(rest.trim_start_matches('.'))),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// What the client's certificate is to be issued for.
fn certificate_name(proof: &Proof) -> String {
    let name = proof.dns.as_deref().or(proof.cn.as_deref());
    let name =
        name.filter(|name| !name.contains(['*', '/']) && !name.contains(char::is_whitespace));
    name.unwrap_or("NAME").to_owned()
}

impl Advice {
    /// The lines alone on the standard output: they are there to be copied.
    fn say(&self, client: Client, output: &mut Output<'_>) {
        output.say(self.target.lines(client).join("\n"));
        if output.quiet {
            return;
        }
        for note in &self.notes {
            output.complain(format_args!("note: {note}"));
        }
        for trap in traps(client, self.target.protocol) {
            output.complain(format_args!("trap: {trap}"));
        }
    }

    fn json(&self, client: Client) -> serde_json::Value {
        let Target {
            protocol,
            host,
            port,
            user,
            database,
            ca,
            identity,
        } = &self.target;
        json!({
            "protocol": protocol.label(),
            "origin": self.origin,
            "listener": self.listener,
            "host": host,
            "port": port,
            "user": user,
            "database": database,
            "ca": self.ca,
            "client_ca": ca,
            "certificate": identity.as_ref().map(|(certificate, _)| certificate),
            "key": identity.as_ref().map(|(_, key)| key),
            "lines": self.target.lines(client),
            "notes": self.notes,
            "traps": traps(client, *protocol),
        })
    }
}

/// Where the documentation tells clients to store our CA's certificate.
const OUR_CA: &str = "/etc/ssl/doorward-ca.crt";

/// Where Debian has those of the public CAs.
const PUBLIC_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Origins that are named to somebody who has not said which.
const MAX_NAMED: usize = 12;

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
