//! Sockets, TLS and certificates, the way to the database, the kernel's view of a connection. Floor 1.
//!
//! Only this module opens sockets, and only it holds the `unsafe` there must be (`kernel.rs`).

mod authority;
pub mod certificate;
mod client_authority;
mod client_certificate;
mod client_trust;
mod door_tls;
mod end_point;
pub mod kernel;
mod listen;
mod local;
mod ours;
mod presented;
mod proxied;
mod proxy;
pub mod ranges;
pub mod resolver;
mod stream;
pub mod tls;
mod upstream;
mod upstream_tls;
mod watch;

pub use client_authority::{ClientAuthority, IssueError, Issued, Wish, Written};
pub use client_certificate::Unreadable;
pub use client_trust::{ClientTrust, Fault};
pub use door_tls::{DoorTls, Shown};
pub use end_point::EndPoint;
pub use listen::{Families, bind, tune};
pub use local::{LocalListener, connect_local, named_user, user_name};
pub use ours::{NotOurs, Owners, read_ours};
pub use presented::{Presented, Serial};
pub use proxied::{Proxied, ProxiedError, proxied};
pub use proxy::{OnBehalf, announce};
pub use stream::{Stream, handshake_round_trips};
pub use upstream::{DialError, Server, Upstream};
pub use upstream_tls::{Fingerprint, Negotiation, SecureError, UpstreamTls, shown_certificate};
pub use watch::Watch;
