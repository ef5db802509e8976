//! MySQL's and MariaDB's accounts, as `SELECT user, host, ssl_type FROM mysql.user` prints them. Floor 5: pure.
//!
//! The server takes the account whose host is the most specific. Behind the gateway every client comes from the gateway's
//! address, so the accounts must be renamed, too.

use std::{cmp::Reverse, collections::BTreeSet, net::IpAddr, sync::Arc};

use super::{
    Found,
    mysql_hosts::Host,
    region::{Addresses, Kind, NameSet, Region, Ways},
    rule::{Place, Remark, Rule, Unsure, Verdict},
};

/// What the list does not say.
pub(super) struct Server {
    /// As whom the server will see the gateway: an address, or `localhost` for a unix socket.
    pub(super) gateway: String,
    /// Connections in clear are admitted.
    pub(super) clear: bool,
}

/// # Errors
/// Why the text is not what was expected.
pub(super) fn read(text: &str, name: &Arc<str>, server: &Server) -> Result<Found, String> {
    let mut accounts = accounts(text, name)?;
    accounts.retain(|account| !SYSTEM.contains(&account.user.as_str()));
    let mut found = Found::default();
    let mut rules: Vec<(Reverse<u8>, bool, Rule)> = Vec::new();
    for account in &accounts {
        if let Some(rule) = account.rule(server, &mut found.remarks) {
            let anonymous = account.user.is_empty();
            rules.push((Reverse(account.host.specificity()), anonymous, rule));
        }
    }
    // as the server sorts them; of one host the anonymous account comes last
    rules.sort_by_key(|(specificity, anonymous, _)| (*specificity, *anonymous));
    found.rules = rules.into_iter().map(|(_, _, rule)| rule).collect();
    found.rename = rename(&accounts, server);
    if found.rules.iter().any(|rule| rule.verdict.admits()) {
        found.note("what databases an account may use is in its grants: the origins name none");
        if !server.clear {
            found.note("connections in clear are refused from now on: `--clear` keeps them");
        }
    }
    if !found.rename.is_empty() {
        found.note(format!(
            "the server will see the gateway's address ({}) instead of its clients': rename these accounts there, unless the listener has `upstream_proxy_protocol: v2` (MariaDB, Percona Server)",
            server.gateway
        ));
    }
    Ok(found)
}

struct Account {
    place: Place,
    user: String,
    /// As it is written.
    at: String,
    host: Host,
    ssl: String,
    locked: bool,
}

impl Account {
    fn rule(&self, server: &Server, remarks: &mut Vec<Remark>) -> Option<Rule> {
        let networks = match &self.host {
            Host::Local => {
                let text =
                    format!("{self} is for clients on the server's own machine: it stays as it is");
                remarks.push(Remark::note(&self.place, text));
                return None;
            }
            Host::Never(why) => {
                let text = format!("{self} fits no client: {why}");
                remarks.push(Remark::note(&self.place, text));
                return None;
            }
            Host::Networks(networks) => Some(Addresses::Networks(networks.clone())),
            Host::Named(name) => Some(Addresses::host(name)),
            Host::Unknown(_) => None,
        };
        let users = if self.user.is_empty() {
            NameSet::all()
        } else {
            NameSet::only([self.user.as_str()])
        };
        let encrypted = self.ssl.eq_ignore_ascii_case("any");
        let ways = if server.clear && !encrypted {
            Ways::ALL
        } else {
            Ways::TLS
        };
        let region = |addresses| Region {
            addresses,
            users: users.clone(),
            databases: NameSet::all(),
            kind: Kind::Ordinary,
            ways,
        };
        let (verdict, remark) = self.verdict();
        remarks.extend(remark);
        let unsure = match &self.host {
            Host::Unknown(why) => {
                if verdict.admits() {
                    let text = format!("{self}: {why}");
                    remarks.push(Remark::left_out(&self.place, text));
                }
                Some(why.clone())
            }
            Host::Named(name) => Some(format!("what addresses `{name}` has is for DNS to say")),
            Host::Networks(_) | Host::Local | Host::Never(_) => None,
        };
        Some(Rule {
            place: self.place.clone(),
            verdict,
            sure: networks.map(region).into_iter().collect(),
            in_clear: false,
            unsure: unsure.map(|why| Unsure {
                most: vec![region(Addresses::everywhere())],
                why,
            }),
            label: None,
        })
    }

    fn verdict(&self) -> (Verdict, Option<Remark>) {
        let left_out = |why: String| {
            let remark = Remark::left_out(&self.place, why);
            (Verdict::Unknown, Some(remark))
        };
        if self.locked {
            return (Verdict::Refuse, None);
        }
        if self.user.is_empty() {
            return left_out(format!(
                "DANGER: {self} is an anonymous account: whoever fits no other gets in by it; drop it"
            ));
        }
        match self.ssl.to_ascii_uppercase().as_str() {
            "" | "NONE" => (Verdict::Admit, None),
            "ANY" => {
                let text = format!(
                    "{self} requires TLS, of the gateway's own connection to the server too: give it `upstream_tls`, or `ALTER USER ... REQUIRE NONE`"
                );
                (Verdict::Admit, Some(Remark::note(&self.place, text)))
            }
            "X509" => left_out(format!(
                "{self} asks for any certificate of a CA, and an origin's proof names one: write `proof: {{certificate: {{dns: ...}}}}`"
            )),
            "SPECIFIED" => left_out(format!(
                "{self} asks for a certificate that other columns describe: write `proof: {{certificate: {{dns: ...}}}}`"
            )),
            other => left_out(format!("{self}: `{other}` is no ssl_type that is known")),
        }
    }

    /// As SQL writes it.
    fn at(&self, host: &str) -> String {
        format!("{}@{}", literal(&self.user), literal(host))
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.at(&self.at))
    }
}

/// What makes the accounts fit the gateway's address, as SQL.
fn rename(accounts: &[Account], server: &Server) -> Vec<String> {
    let gateway: Option<IpAddr> = server.gateway.parse().ok();
    let fits = |account: &Account| match (&account.host, gateway) {
        _ if account.at.eq_ignore_ascii_case(&server.gateway) || account.at == "%" => true,
        (Host::Networks(networks), Some(gateway)) => {
            networks.iter().any(|network| network.contains(&gateway))
        }
        _ => false,
    };
    let mut there: BTreeSet<&str> = BTreeSet::new();
    for account in accounts.iter().filter(|account| fits(account)) {
        there.insert(&account.user);
    }
    let strangers = accounts.iter().filter(|account| {
        let remote = !matches!(account.host, Host::Local | Host::Never(_));
        // an account that nobody is admitted for must not come to stand where another's clients are looked for
        remote && account.verdict().0.admits() && !fits(account)
    });
    let mut statements = Vec::new();
    for account in strangers {
        let target = account.at(&server.gateway);
        statements.push(if there.insert(&account.user) {
            format!("RENAME USER {account} TO {target};")
        } else {
            format!("-- {account} is a further account of that user: hold its grants against {target}, then DROP USER {account};")
        });
    }
    statements
}

fn literal(text: &str) -> String {
    // a name is shown in a terminal and pasted into a shell of the server's
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Takes tab-separated lines (`mysql -B`), with a header or without, or the table that a terminal shows.
fn accounts(text: &str, name: &Arc<str>) -> Result<Vec<Account>, String> {
    let mut columns = Columns::default();
    let mut accounts = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(cells) = cells(line) else { continue };
        if let Some(header) = Columns::of(&cells) {
            columns = header;
            continue;
        }
        let place = Place::line(name, number);
        let cell = |index: Option<usize>| {
            let cell = index.and_then(|index| cells.get(index));
            cell.map(|text| if text == "NULL" { "" } else { text })
        };
        let (Some(user), Some(host)) = (cell(Some(columns.user)), cell(Some(columns.host))) else {
            return Err(format!(
                "{place}: a line is an account: its user, its host and its ssl_type"
            ));
        };
        let locked = cell(columns.locked).is_some_and(|word| word.eq_ignore_ascii_case("y"));
        accounts.push(Account {
            place,
            user: user.to_owned(),
            at: host.to_owned(),
            host: Host::of(host),
            ssl: cell(Some(columns.ssl)).unwrap_or_default().to_owned(),
            locked,
        });
        if accounts.len() > MAX_ACCOUNTS {
            return Err(format!("there are more than {MAX_ACCOUNTS} accounts"));
        }
    }
    if accounts.is_empty() {
        return Err(
            "there is no account in it: `mysql -B -e 'SELECT user, host, ssl_type FROM mysql.user'` prints them"
                .to_owned(),
        );
    }
    Ok(accounts)
}

/// `None` for a line that holds none.
fn cells(line: &str) -> Option<Vec<String>> {
    if line.is_empty() || line.starts_with('+') {
        return None;
    }
    if let Some(inner) = line.strip_prefix('|') {
        let inner = inner.trim_end().strip_suffix('|')?;
        return Some(
            inner
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect(),
        );
    }
    if !line.contains('\t') {
        return None;
    }
    // `mysql -B` writes these three with a backslash
    let plain = |cell: &str| {
        cell.replace("\\t", "\t")
            .replace("\\n", "\n")
            .replace("\\\\", "\\")
    };
    Some(line.split('\t').map(plain).collect())
}

/// Which column is what.
struct Columns {
    user: usize,
    host: usize,
    ssl: usize,
    locked: Option<usize>,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            user: 0,
            host: 1,
            ssl: 2,
            locked: None,
        }
    }
}

impl Columns {
    fn of(cells: &[String]) -> Option<Self> {
        let named = |name: &str| {
            cells
                .iter()
                .position(|cell| cell.eq_ignore_ascii_case(name))
        };
        Some(Self {
            user: named("user")?,
            host: named("host")?,
            // far to the right, where there is none
            ssl: named("ssl_type").unwrap_or(usize::MAX),
            locked: named("account_locked"),
        })
    }
}

/// Accounts that nobody logs in by.
const SYSTEM: [&str; 5] = [
    "mysql.sys",
    "mysql.session",
    "mysql.infoschema",
    "mariadb.sys",
    "debian-sys-maint",
];

const MAX_ACCOUNTS: usize = 10_000;
