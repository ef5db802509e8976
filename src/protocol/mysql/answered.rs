//! A client that has answered a greeting, with the connection to the server whose greeting it was. Floor 2.

use super::{Opening, Unfinished, refuse};
use crate::{
    net::Stream,
    policy::Reason,
    protocol::{Words, last_words::refuse as say_last},
};

#[derive(Debug)]
pub struct Answered {
    pub opening: Opening,
    /// `None` where the gateway has greeted by itself, and while a login has it.
    pub upstream: Option<Unfinished>,
}

impl Answered {
    /// Tells the client as its own server would, and ends both connections in order.
    pub async fn refuse(self, client: Stream, reason: Reason, words: &Words) {
        let Self { opening, upstream } = self;
        let telling = async {
            match refuse::refusal(opening.whom(), opening.sequence(), reason, words) {
                Some(packet) => say_last(client, &packet).await,
                None => drop(client),
            }
        };
        tokio::join!(telling, dismiss(upstream));
    }

    /// Ends what was begun at the server in order.
    pub async fn dismiss(self) {
        dismiss(self.upstream).await;
    }
}

async fn dismiss(upstream: Option<Unfinished>) {
    if let Some(upstream) = upstream {
        upstream.abandon().await;
    }
}
