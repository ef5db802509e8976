//! A no that arrives. Floor 2.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{net::Stream, policy::Reason};

/// Writes the last words to a client and closes. What it still sends is read for a moment: a close with unread bytes is a reset, and
/// a reset can overtake the words.
pub async fn refuse(mut client: Stream, words: &[u8]) {
    // whether it arrives is the client's affair: it is being put out
    drop(timeout(LINGER, farewell(&mut client, words)).await);
}

async fn farewell(client: &mut Stream, words: &[u8]) -> std::io::Result<()> {
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
        Reason::ShuttingDown => Some("57P03"),
        Reason::Allowed | Reason::TlsFailed | Reason::OpeningTimeout => None,
    }
}

/// How long a client that is put out may take to read why.
const LINGER: Duration = Duration::from_secs(1);
/// How much of what it still sends is read meanwhile, in bytes.
const DRAIN: usize = 64 * 1024;
