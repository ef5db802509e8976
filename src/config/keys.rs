//! The one table of keys: what a file may say, in which shape, and what an absent key means. Floor 1.
//!
//! The walk refuses what does not stand here, and `doorward schema` is made of it. What a value means is read elsewhere.

use Absent::{Means, Never, Value};
use Shape::{
    Address, Count, Duration, Either, Flag, Host, Label, List, Map, Name, Named, Network, Path,
    Rate, Sha256, Socket, Text, Time, Words,
};

use super::{
    daemon::{LOG_FORMATS, LOG_LEVELS},
    everybody::ANSWERS,
    listeners::{COMPRESSIONS, IDENTIFIES, PROTECTED, PROTOCOLS, PROXY_HEADERS, SCRAMS},
    origins::{ON_REVOKE, REPLICATIONS, TLS_VERSIONS},
    providers::Format,
    rehearsals::{REASONS, SHOWN_TLS, VERDICTS},
    upstream_tls::{MODES, NEGOTIATIONS},
    walk::{Absent, Key, Schema, Shape},
};
const fn key(name: &'static str, shape: Shape, absent: Absent, doc: &'static str) -> Key {
    Key { name, shape, absent, doc }
}

const fn schema(what: &'static str, keys: &'static [Key]) -> Schema {
    Schema { what, keys }
}

pub(super) const TOP: Schema = schema("an allowlist", TOP_KEYS);
const TOP_KEYS: &[Key] = &[
    key("version", Words(&["1"]), Never, "The version of this format"),
    key("listeners", List(&Map(&LISTENER)), Never, "The sockets that connections come in by, and the server behind each"),
    key("tls", Map(&TLS), Means("an own CA and a certificate, made at the first start and kept"), "TLS towards the clients"),
    key("admin", Map(&ADMIN), Means("the defaults of its keys"), "The gateway's own doors"),
    key("state_dir", Path, Means("$STATE_DIRECTORY, else $XDG_STATE_HOME/doorward, else ~/.local/state/doorward"),
        "Where certificates that are made here, temporary origins and the last good allowlist are kept"),
    key("limits", Map(&LIMITS), Means("the defaults of its keys"), "What clients may take before they are let in"),
    key("metrics", Map(&METRICS), Means("the defaults of its keys"), "The metrics page"),
    key("latency", Map(&LATENCY), Means("the defaults of its keys"), "What round trips mean"),
    key("resolver", Map(&RESOLVER), Means("the defaults of its keys"), "How the hosts are looked up that origins name"),
    key("log", Map(&LOG), Means("the defaults of its keys"), "The log"),
    key("audit", Map(&AUDIT), Means("none"), "Who came in, who did not, and who changed the rules"),
    key("include", List(&Text), Means("none"),
        "Further files with origins and deny rules; their paths begin in the folder of this file"),
    key("observe", Map(&OBSERVE), Means("none"), "For a while, whoever would be refused is let in and recorded"),
    key("require", Map(&REQUIRE), Means("the defaults of its keys"), "Floors that no origin can go under"),
    key("protected_users", List(&Name), Value("[postgres, root, mysql.sys, mysql.session, mysql.infoschema, debian-sys-maint, mariadb.sys]"),
        "Users that \"any user\" never covers"),
    key("networks", Named(&NETWORK), Means("none"), "Address sets that rules name"),
    key("origins", List(&Map(&ORIGIN)), Means("nobody is let in"), "Who may connect, and what for"),
    key("deny", List(&Map(&DENY)), Means("none"), "Who never may; it beats every origin"),
    key("strangers", Map(&STRANGERS), Means("the defaults of its keys"), "Addresses that no origin names"),
    key("sessions", Map(&SESSIONS), Means("the defaults of its keys"), "Open sessions whose rule goes"),
    key("temporary", Map(&TEMPORARY), Means("the defaults of its keys"), "The most that `doorward allow` may give"),
    key("tests", List(&Map(&TEST)), Means("none"), "What these rules must decide; a reload whose tests fail is refused"),
];

pub(super) const LISTENER: Schema = schema("a listener", &[
    key("name", Label, Never, "Becomes a label of metrics"),
    key("protocol", Words(&PROTOCOL_WORDS), Never, "mysql is MariaDB, too"),
    key("listen", Either(&[Socket, List(&Socket)]), Never, "One address and port, or several"),
    key("upstream", Text, Never, "The database: host:port, the path of its unix socket, or the folder of that"),
    key("upstream_tls", Map(&UPSTREAM_TLS), Means("off for unix sockets and this machine; for another it must be written"),
        "TLS towards the database"),
    key("scram", Words(&SCRAM_WORDS), Value("auto"),
        "PostgreSQL: relay leaves SCRAM to the server; terminate checks the proof here, by `verifiers`; auto does what lets clients with channel binding in"),
    key("verifiers", Path, Means("none"),
        "PostgreSQL: what the server keeps of its passwords, from pg_dumpall --roles-only or a userlist, which not everybody may read; a change is taken in by itself"),
    key("allow_plain_cancel", Flag, Value("true"),
        "PostgreSQL: take cancel requests in clear, as old clients send them even after TLS"),
    key("cancel_on_disconnect", Flag, Value("false"),
        "PostgreSQL: stop the statement of a client that is gone, or that has closed its half; false: the server goes on with it"),
    key("identify", Words(&IDENTIFY_WORDS), Value("off"),
        "PostgreSQL: application_name tells the server the client's address as a suffix of that, for logs only: every session may set it"),
    key("protect_upstream", Words(&PROTECTED_WORDS), Value("greeting"),
        "MySQL: greeting is the database's own, once the address may come in; strict is the gateway's, and the database is not touched before the client is allowed"),
    key("proxy_protocol", Map(&PROXY_PROTOCOL), Means("nobody's"),
        "Balancers whose PROXY header says whom a connection is for"),
    key("upstream_proxy_protocol", Words(&PROXY_HEADER_WORDS), Value("off"),
        "MariaDB, Percona Server: whether it is told the client's address by a PROXY header"),
    key("compression", Words(&COMPRESSION_WORDS), Value("masked"),
        "MySQL: masked is not offered; with passthrough compressed sessions are passed on unread"),
]);

pub(super) const UPSTREAM_TLS: Schema = schema("`upstream_tls`", &[
    key("mode", Words(&MODE_WORDS), Never, "How the server proves who it is"),
    key("name", Host, Means("the upstream's host"), "Whom the server's certificate is for (verify-full)"),
    key("ca", Path, Means("none"), "The CA of the server's certificate, PEM (verify-full)"),
    key("pin", Sha256, Means("none"), "The SHA-256 of the server's certificate (pin)"),
    key("certificate", Path, Means("none is shown"), "What the server is shown, PEM"),
    key("key", Path, Means("none"), "Its key, PEM"),
    key("negotiation", Words(&NEGOTIATION_WORDS), Value("request"),
        "PostgreSQL: request asks for TLS as every release has it; direct begins with it (17 and later)"),
]);

pub(super) const PROXY_PROTOCOL: Schema = schema("`proxy_protocol`", &[
    key("from", List(&Network), Never, "The balancers. Their header is obligatory then"),
]);

pub(super) const TLS: Schema = schema("`tls`", &[
    key("certificate", Path, Means("one is made"), "The certificate and those above it, PEM"),
    key("key", Path, Means("one is made"), "Its key, PEM, which not everybody may read"),
    key("certificates", List(&Map(&FURTHER)), Means("there is one"),
        "Further ones: a client sees the first that is for the name that it wants (SNI), or that above"),
    key("names", List(&Host), Means("the names of the machine, localhost, and the addresses that are listened on"),
        "Whom a certificate that is made here is for"),
    key("min", Words(&TLS_VERSION_WORDS), Value("1.2"), "The oldest version that is spoken"),
    key("client_ca", Path, Means("no client is asked for a certificate"), "The CAs of client certificates, PEM"),
    key("crl", Path, Means("nothing is taken back"),
        "What those CAs have taken back, PEM; whoever is in no list of his CA is refused"),
]);

pub(super) const FURTHER: Schema = schema("a certificate of `tls`", &[
    key("certificate", Path, Never, "The certificate and those above it, PEM"),
    key("key", Path, Never, "Its key, PEM, which not everybody may read"),
]);

pub(super) const ADMIN: Schema = schema("`admin`", &[
    key("http", Socket, Value("127.0.0.1:9432"), "Metrics and health"),
    key("socket", Path, Means("admin.sock in $RUNTIME_DIRECTORY, else /run/doorward, else $XDG_RUNTIME_DIR/doorward"),
        "The door of the commands"),
]);

pub(super) const LIMITS: Schema = schema("`limits`", &[
    key("openings", Count, Value("4096"), "Connections being opened at a time"),
    key("per_source", Count, Value("64"), "The same of one address (IPv6: one /64)"),
    key("first_byte", Duration, Value("5s"), "How long a client may say nothing"),
    key("opening", Duration, Value("30s"), "From accept to the decision; on MySQL 8s at most"),
    key("login", Duration, Value("60s"), "From the decision to the database's yes; on MySQL 8s at most"),
    key("dial", Duration, Value("5s"), "For reaching the database"),
    key("drain", Duration, Value("30s"), "How long sessions may go on after SIGTERM"),
    key("refusals_explained", Rate, Value("200/s"), "Beyond it strangers are closed without a word"),
]);

pub(super) const METRICS: Schema = schema("`metrics`", &[
    key("max_origins", Count, Value("500"), "Origins beyond share the label `_other`"),
]);

pub(super) const LATENCY: Schema = schema("`latency`", &[
    key("places", Map(&PLACES), Means("the defaults of its keys"),
        "How far an application is, in words: the round trips below which each holds"),
]);

pub(super) const PLACES: Schema = schema("`latency.places`", &[
    key("same_site", Duration, Value("500us"), "In the database's own datacentre"),
    key("same_region", Duration, Value("2ms"), "In one beside it"),
    key("near", Duration, Value("10ms"), "In the same country or the next"),
    key("same_continent", Duration, Value("40ms"), "Not over an ocean"),
    key("far", Duration, Value("100ms"), "Beyond it is another continent"),
]);

pub(super) const RESOLVER: Schema = schema("`resolver`", &[
    key("servers", List(&Socket), Means("those of the system"), "Whom to ask"),
    key("max_stale", Duration, Value("1h"), "How long the last answer holds when there is no new one; then it admits nobody"),
]);

pub(super) const LOG: Schema = schema("`log`", &[
    key("format", Words(&LOG_FORMAT_WORDS), Value("auto"), "auto is text on a terminal and in the journal, JSON otherwise"),
    key("level", Words(&LOG_LEVEL_WORDS), Value("info"), "The least that is written"),
]);

pub(super) const AUDIT: Schema = schema("`audit`", &[
    key("file", Path, Means("none"), "JSON lines are appended to it"),
    key("required", Flag, Value("false"), "Nobody comes in while it cannot be written"),
]);

pub(super) const OBSERVE: Schema = schema("`observe`", &[
    key("until", Time, Never, "When it ends by itself"),
    key("from", List(&Network), Means("private addresses, and this machine's"), "Who is observed"),
]);

pub(super) const REQUIRE: Schema = schema("`require`", &[
    key("tls", Flag, Value("true"), "Connections are encrypted"),
    key("authentication", Flag, Value("true"), "A session that the database lets in without a challenge is ended"),
]);

pub(super) const NETWORK: Schema = schema("a network", &[
    key("addresses", List(&Network), Means("a `file` has them"), "Addresses and networks"),
    key("file", Path, Means("they are written here"),
        "A list that somebody publishes, which not everybody may write to; a change is taken in by itself"),
    key("format", Words(&FORMAT_WORDS), Means("there is no file"), "How the list is written"),
    key("key", Text, Means("the whole list"), "Which of its lists, where the format has several"),
    key("shared", Flag, Value("false"),
        "Strangers have these addresses too: they mention nobody, and an origin needs a proof beside them"),
    key("note", Text, Means("none"), "For people"),
]);

pub(super) const INCLUDED: Schema = schema("an included file", &[
    key("origins", List(&Map(&ORIGIN)), Means("none"), "Who may connect, and what for"),
    key("deny", List(&Map(&DENY)), Means("none"), "Who never may"),
]);

pub(super) const ORIGIN: Schema = schema("an origin", &[
    key("name", Label, Never, "Becomes a label of metrics"),
    key("from", List(&Either(&[Network, Words(&["any"]), Map(&FROM)])), Never,
        "Where its clients connect from; any entry matches. A text is never taken for a host name"),
    key("users", List(&Name), Value("[any]"), "Exact. Any is any but the protected"),
    key("databases", List(&Name), Value("[any]"), "Exact"),
    key("listeners", List(&Label), Means("the one there is; obligatory where there are several"), "Which doors it may use"),
    key("exclusive", Flag, Value("false"), "These users may come from here and from nowhere else on these listeners"),
    key("expires", Time, Means("never"), "From then on it admits nobody, and its sessions end"),
    key("active", Flag, Value("true"), "false: switched off, and still reserving if exclusive"),
    key("replication", Words(&REPLICATION_WORDS), Means("none"),
        "PostgreSQL: a right of its own, which admits no ordinary sessions. MySQL: true, beside them"),
    key("local_infile", Flag, Value("false"), "MySQL: the server may ask the client for a file"),
    key("limits", Map(&ORIGIN_LIMITS), Means("the defaults of its keys"), "What its clients may take"),
    key("proof", Map(&PROOF), Means("none is asked for"), "What proves who the client is"),
    key("observe", Flag, Value("false"),
        "Its proof, limits and tls.min are on trial: what they would refuse is recorded and admitted"),
    key("tls", Map(&ORIGIN_TLS), Means("as the listener"), "TLS of its clients"),
    key("expect", Map(&EXPECT), Means("nothing"), "What is worth a warning when it is otherwise"),
    key("on_revoke", Words(&ON_REVOKE_WORDS), Means("as sessions.on_revoke"), "What happens to its open sessions when it goes"),
    key("note", Text, Means("none"), "For people"),
]);

pub(super) const FROM: Schema = schema("an entry of `from`", &[
    key("host", Host, Means("a `network` is named"),
        "A name whose addresses DNS knows, of both families, followed in the background"),
    key("network", Label, Means("a `host` is named"), "One of `networks`"),
    key("private", Flag, Value("false"), "Answers of DNS that lead inside count, too (host)"),
]);

pub(super) const PROOF: Schema = schema("`proof`", &[
    key("certificate", Map(&CERTIFICATE), Never, "A client certificate of tls.client_ca"),
]);

pub(super) const CERTIFICATE: Schema = schema("`proof.certificate`", &[
    key("dns", Text, Means("not asked for"), "One of its DNS names; `*.` in front stands for one label"),
    key("uri", Text, Means("not asked for"), "One of its URIs; with a `/` at the end for all below it"),
    key("cn", Text, Means("not asked for"), "Its common name, which CAs do not check"),
    key("sha256", Sha256, Means("not asked for"), "The SHA-256 of the certificate"),
    key("issuer", Sha256, Means("not asked for"), "The SHA-256 of the public key of a CA above it"),
]);

pub(super) const ORIGIN_LIMITS: Schema = schema("an origin's `limits`", &[
    key("connections", Count, Means("no limit"), "Sessions at a time"),
    key("new_per_minute", Count, Means("no limit"), "New sessions"),
    key("session", Duration, Means("no limit"), "How long a session may last"),
    key("failed_auth_per_minute", Count, Value("10"), "Failed logins of one user from one address"),
]);

pub(super) const ORIGIN_TLS: Schema = schema("an origin's `tls`", &[
    key("min", Words(&TLS_VERSION_WORDS), Means("as the listener"), "The oldest version of TLS that it may use"),
]);

pub(super) const EXPECT: Schema = schema("`expect`", &[
    key("rtt", Duration, Means("anything"), "The longest round trip: beyond it the application is not where it is thought to be"),
]);

pub(super) const DENY: Schema = schema("a deny rule", &[
    key("name", Label, Never, "What a refusal is attributed to"),
    key("from", List(&Either(&[Network, Words(&["any"]), Map(&DENIED_FROM)])), Means("everywhere"), "Addresses, networks, any"),
    key("users", List(&Name), Means("everybody"), "Exact"),
    key("certificates", List(&Sha256), Means("with any or none"), "The SHA-256 of certificates"),
    key("note", Text, Means("none"), "For people"),
]);

const DENIED_FROM: Schema = schema("an entry of `from`", &[
    key("network", Label, Never, "One of `networks`"),
]);

pub(super) const STRANGERS: Schema = schema("`strangers`", &[
    key("answer", Words(&ANSWER_WORDS), Value("quiet"), "quiet: one line without names"),
    key("ban", Map(&BAN), Means("the defaults of its keys"), "Who fails too often is not heard for a while"),
]);

pub(super) const BAN: Schema = schema("`strangers.ban`", &[
    key("after", Count, Value("10"), "Failures of one address (IPv6: one /64)"),
    key("within", Duration, Value("1m"), "The time in which they count"),
    key("for", Duration, Value("15m"), "How long it is not heard"),
]);

pub(super) const SESSIONS: Schema = schema("`sessions`", &[
    key("on_revoke", Words(&ON_REVOKE_WORDS), Value("drain"), "drain: told at a quiet moment, and cut later"),
    key("drain", Duration, Means("as limits.drain"), "How long a session that is drained may go on"),
]);

pub(super) const TEMPORARY: Schema = schema("`temporary`", &[
    key("max", Duration, Value("8h"), "The longest time"),
    key("users", List(&Name), Value("[any]"), "Any is any but the protected, and those of exclusive origins"),
    key("databases", List(&Name), Value("[any]"), "Exact"),
]);

pub(super) const TEST: Schema = schema("a test", &[
    key("from", Address, Never, "Where the client connects from"),
    key("user", Name, Never, "Whom it claims to be"),
    key("database", Name, Means("the user's name, as PostgreSQL does; on MySQL none"), "What it opens"),
    key("listener", Label, Means("the first of the file"), "Which door it uses"),
    key("tls", Words(&SHOWN_TLS_WORDS), Means("false, or true beside a certificate"), "Whether the connection is encrypted"),
    key("certificate", Map(&SHOWN), Means("none"), "What a valid certificate of the client says"),
    key("replication", Words(&REPLICATION_WORDS), Means("none"), "Whether it replicates"),
    key("at", Time, Means("the moment of the test"), "When it comes"),
    key("expect", Words(&VERDICT_WORDS), Never, "What is decided"),
    key("origin", Label, Means("any"), "Which origin or deny rule decides it"),
    key("reason", Words(&REASON_WORDS), Means("any"), "Why it is decided so"),
]);

pub(super) const SHOWN: Schema = schema("a test's `certificate`", &[
    key("dns", Either(&[Text, List(&Text)]), Means("none"), "Its DNS names"),
    key("uri", Either(&[Text, List(&Text)]), Means("none"), "Its URIs"),
    key("cn", Text, Means("none"), "Its common name"),
    key("sha256", Sha256, Means("none that a rule names"), "The SHA-256 of the certificate"),
    key("issuer", Sha256, Means("none that a rule names"), "The SHA-256 of the public key of its CA"),
]);

const ANSWER_WORDS: [&str; 3] = words(&ANSWERS);
const COMPRESSION_WORDS: [&str; 2] = words(&COMPRESSIONS);
const FORMAT_WORDS: [&str; 7] = words(&Format::ALL);
const IDENTIFY_WORDS: [&str; 2] = words(&IDENTIFIES);
const LOG_FORMAT_WORDS: [&str; 3] = words(&LOG_FORMATS);
const LOG_LEVEL_WORDS: [&str; 5] = words(&LOG_LEVELS);
const MODE_WORDS: [&str; 3] = words(&MODES);
const NEGOTIATION_WORDS: [&str; 2] = words(&NEGOTIATIONS);
const ON_REVOKE_WORDS: [&str; 3] = words(&ON_REVOKE);
const PROTECTED_WORDS: [&str; 2] = words(&PROTECTED);
const PROTOCOL_WORDS: [&str; 2] = words(&PROTOCOLS);
const PROXY_HEADER_WORDS: [&str; 2] = words(&PROXY_HEADERS);
const REASON_WORDS: [&str; 26] = words(&REASONS);
const REPLICATION_WORDS: [&str; 3] = words(&REPLICATIONS);
const SCRAM_WORDS: [&str; 3] = words(&SCRAMS);
const SHOWN_TLS_WORDS: [&str; 4] = words(&SHOWN_TLS);
const TLS_VERSION_WORDS: [&str; 2] = words(&TLS_VERSIONS);
const VERDICT_WORDS: [&str; 2] = words(&VERDICTS);

/// The words of a table by which a reader looks values up.
const fn words<const N: usize, T>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let (mut left, mut open): (&[_], &mut [_]) = (table, &mut words);
    while let (Some(((word, _), rest)), Some((first, behind))) = (left.split_first(), open.split_first_mut()) {
        *first = word;
        left = rest;
        open = behind;
    }
    words
}
