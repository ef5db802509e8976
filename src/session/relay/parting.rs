//! The end of a relay: last words, and a close that does not swallow them. Floor 3.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::Leg;

/// What is still to be said when nothing is relayed any more.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    /// The rest of what the server said, then ours; whole messages at its end.
    pub(super) to_client: Vec<u8>,
    /// The message that takes leave of the server, where it may be said.
    pub(super) to_server: Option<&'static [u8]>,
}

/// Says the last words and closes both legs, whatever the peers do. A reset would take the words away from a client that has
/// not read them yet, so its leg is first closed for writing and read to its end, within bounds.
pub(super) async fn part<C: Leg, S: Leg>(mut client: C, mut upstream: S, words: LastWords) {
    if let Some(leave) = words.to_server {
        // a server that does not listen now has the close to go by
        drop(timeout(PATIENCE, upstream.write_all(leave)).await);
        drop(timeout(PATIENCE, upstream.shutdown()).await);
    }
    drop(upstream);
    let parting = async {
        client.write_all(&words.to_client).await?;
        client.flush().await?;
        client.shutdown().await?;
        let mut sink = [0; 1024];
        let mut rest = MOST_UNREAD;
        while rest > 0 {
            match client.read(&mut sink).await? {
                0 => break,
                read => rest = rest.saturating_sub(read),
            }
        }
        std::io::Result::Ok(())
    };
    // whoever does not take them in this time has had his chance
    drop(timeout(PATIENCE, parting).await);
}

const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a client that is being left.
const MOST_UNREAD: usize = 64 * 1024;
