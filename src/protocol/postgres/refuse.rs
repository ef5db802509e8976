//! A no that arrives. Floor 2.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    net::Stream,
    policy::Reason,
    wire::postgres::{ErrorForm, ErrorResponse},
};

/// Writes the last words to a client and closes. What it still sends is read for a moment: a close with unread bytes is a reset, and
/// a reset can overtake the words.
pub async fn refuse(mut client: Stream, words: &[u8]) {
    // whether it arrives is the client's affair: it is being put out
    drop(timeout(LINGER, last_words(&mut client, words)).await);
}

async fn last_words(client: &mut Stream, words: &[u8]) -> std::io::Result<()> {
    client.write_all(words).await?;
    client.flush().await?;
    client.shutdown().await?;
    let mut drained = 0;
    let mut chunk = [0; 512];
    while drained < DRAIN {
        match client.read(&mut chunk).await? {
            0 => break,
            read => drained += read,
        }
    }
    Ok(())
}

/// What a session that is ended by us hears: `57P01`, as from a server that is told to stop, so that pools connect anew.
pub fn farewell(message: &str) -> Vec<u8> {
    let response = ErrorResponse {
        sqlstate: ADMIN_SHUTDOWN,
        message,
        detail: None,
        hint: None,
    };
    response.encode(ErrorForm::Version3)
}

/// The code that goes with a refusal; `None` where the connection is closed without a word.
pub const fn sqlstate(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::DenyRule
        | Reason::ExclusiveUser
        | Reason::NoOrigin
        | Reason::ListenerNotAllowed
        | Reason::UserNotAllowed
        | Reason::DatabaseNotAllowed
        | Reason::ReplicationNotAllowed
        | Reason::Expired
        | Reason::Inactive
        | Reason::TlsRequired
        | Reason::AuthenticationMissing => Some("28000"),
        Reason::LimitConnections | Reason::LimitGlobal => Some("53300"),
        Reason::MalformedOpening => Some("08P01"),
        Reason::UpstreamUnreachable | Reason::UpstreamRefused => Some("08006"),
        Reason::ShuttingDown => Some(ADMIN_SHUTDOWN),
        Reason::Allowed | Reason::TlsFailed | Reason::OpeningTimeout => None,
    }
}

const ADMIN_SHUTDOWN: &str = "57P01";
/// How long a client that is put out may take to read why.
const LINGER: Duration = Duration::from_secs(1);
/// How much of what it still sends is read meanwhile, in bytes.
const DRAIN: usize = 64 * 1024;
