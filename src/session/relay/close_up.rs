//! What a session asks, for as long as somebody looks closer at its origin. Floor 3.

use crate::{
    meter::{Beat, Met, Nanos, OriginMeters, Runs},
    protocol::{Conversation, Statements},
};

/// Lives no longer than it is looked at, so that a session has none.
#[derive(Debug)]
pub(super) struct CloseUp {
    statements: Statements,
    runs: Runs,
    /// When the last turn ended; `None` inside of one.
    rested: Option<Nanos>,
    /// When it was last seen whether somebody still looks.
    seen: Option<Beat>,
}

impl CloseUp {
    /// Before bytes of the client that the conversation has not seen. `None` where nothing can be followed from here.
    pub(super) fn begin(
        conversation: &Conversation,
        origin: &OriginMeters,
        now: Nanos,
        met: Met,
    ) -> Option<Box<Self>> {
        Some(Box::new(Self {
            statements: conversation.statements(origin.fingerprint_key())?,
            runs: Runs::new(met),
            rested: Some(now),
            seen: None,
        }))
    }

    /// `rtt` is the client's.
    pub(super) fn client_said(
        &mut self,
        bytes: &[u8],
        now: Nanos,
        rtt: Nanos,
        origin: &OriginMeters,
    ) {
        let Self {
            statements, runs, ..
        } = self;
        if let Some(rested) = self.rested.take() {
            statements.turn();
            let pause = now.saturating_sub(rested);
            if let Some(run) = runs.turn(now, pause, rtt) {
                origin.found_run(run);
            }
        }
        statements.from_client(bytes, |statement| {
            if let Some(run) = runs.asked(statement) {
                origin.found_run(run);
            }
            if let Some(set_up) = runs.set_up_is_over() {
                origin.found_set_up(set_up);
            }
        });
    }

    pub(super) fn server_said(&mut self, bytes: &[u8]) {
        self.statements.from_server(bytes);
    }

    /// The client has its answer.
    pub(super) fn answered(&mut self, now: Nanos) {
        self.rested = Some(now);
    }

    /// Whether this is the first time in a beat.
    pub(super) fn is_new(&mut self, beat: Beat) -> bool {
        self.seen.replace(beat) != Some(beat)
    }

    /// The client is silent, and perhaps its piece of work is done.
    pub(super) fn pause(&mut self, now: Nanos, rtt: Nanos, origin: &OriginMeters) {
        let pause = self.rested.map(|rested| now.saturating_sub(rested));
        if let Some(run) = pause.and_then(|pause| self.runs.paused(pause, rtt)) {
            origin.found_run(run);
        }
    }

    /// Nobody looks any more, or there is nothing more to see.
    pub(super) fn end(mut self, now: Nanos, origin: &OriginMeters) {
        if let Some(run) = self.runs.rest() {
            origin.found_run(run);
        }
        if let Some(set_up) = self.runs.set_up_until(self.rested.unwrap_or(now)) {
            origin.found_set_up(set_up);
        }
    }
}
