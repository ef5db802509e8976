//! One YAML file becomes settings and rules, or a list of problems. Floor 1.
//!
//! text -> `raw` (serde only, lenient and spanned) -> [`Settings`] and `policy::Rules`. Nothing outside this module
//! knows YAML, and only `load` reads policy text and the environment.

mod addresses;
mod daemon;
mod draft;
mod everybody;
mod flags;
mod from;
mod includes;
#[rustfmt::skip] // a table is read by its lines
mod keys;
mod layering;
mod listeners;
mod lists;
mod load;
mod meaning;
mod named_networks;
mod networks;
mod origins;
mod problems;
mod proof;
mod providers;
mod raw;
mod reach;
mod rehearsals;
mod sayable;
mod schema;
mod settings;
mod spoken;
mod texts;
mod upstream_tls;
mod values;
mod verifiers;
mod walk;
mod warnings;

pub use draft::{Draft, DraftListener, DraftSettings, Drafted};
pub use load::{
    Environment, FlagListener, LoadError, Loaded, Overrides, Places, admin_sockets, from_flags,
    load, load_again, parse, places, places_in,
};
pub use problems::{Place, Problem, Problems, Severity, count};
pub use raw::MAX_FILE;
pub use sayable::{is_sayable_dns, is_sayable_uri, sayable_database, sayable_user};
pub use schema::json_schema;
pub use settings::{
    Admin, Audit, Compression, Distances, Identify, Limits, Listener, Log, LogFormat, Metrics,
    Negotiation, ProtectUpstream, Protocol, Resolver, Scram, Settings, Tls, TlsFiles,
    UpstreamAddress, UpstreamProxyProtocol, UpstreamTls,
};
pub use spoken::{spoken_length, spoken_network};
pub use texts::{List, Lists, Texts};
pub use verifiers::{Usual, Verifiers, VerifiersError};

#[cfg(test)]
mod tests;
