//! What ends a session by time alone, and by whose word its certificate is worth something. Floor 3.
//!
//! Most sessions have neither a certificate nor a longest time: they carry one empty word.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    net::ClientTrust,
    policy::{Certificate, Validity},
};

#[derive(Default)]
pub(super) struct Term(Option<Box<Kept>>);

#[derive(Default)]
struct Kept {
    /// Who has judged the session's certificate, where it has one.
    judge: Option<Arc<ClientTrust>>,
    /// When that judgement holds no longer: the certificate ends, or what tells that it is not revoked.
    judged_until: Option<SystemTime>,
    /// When the session has lasted as long as it may.
    over: Option<Instant>,
    /// Set for the first of the two.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Term {
    /// Of a claim whose certificate `judge` has judged.
    pub(super) fn of(certificate: Option<&Certificate>, judge: &Arc<ClientTrust>) -> Self {
        Self(certificate.map(|certificate| {
            let mut kept = Box::<Kept>::default();
            kept.believe(certificate, judge);
            kept
        }))
    }

    /// The certificate as it has to be seen now, where that may differ: others vouch for clients by now, or its time has come.
    pub(super) fn judge_again(
        &mut self,
        certificate: &Certificate,
        judge: &Arc<ClientTrust>,
        now: SystemTime,
    ) -> Option<Certificate> {
        let kept = self.0.as_mut()?;
        let same = kept
            .judge
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, judge));
        if same && kept.judged_until.is_none_or(|until| now < until) {
            return None;
        }
        let judged = judge.again(certificate, now);
        kept.believe(&judged, judge);
        Some(judged)
    }

    /// The session may last until then.
    pub(super) fn last_until(&mut self, over: Option<Instant>) {
        match (&mut self.0, over) {
            (None, None) => {}
            (Some(kept), None) if kept.judge.is_none() => self.0 = None,
            (kept, over) => {
                let kept = kept.get_or_insert_default();
                kept.over = over;
                kept.wind();
            }
        }
    }

    /// Whether the session has lasted as long as it may.
    pub(super) fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|kept| kept.is_over())
    }

    /// Ready when the time has come to decide again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(kept) = &mut self.0 else {
            return Poll::Pending;
        };
        while let Some(alarm) = &mut kept.alarm {
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let due = kept.is_over() || kept.is_judged_anew();
            kept.wind();
            if due {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl Kept {
    fn believe(&mut self, certificate: &Certificate, judge: &Arc<ClientTrust>) {
        let valid = certificate.validity == Validity::Valid;
        let ends = judge
            .lists_end()
            .map_or(certificate.ends, |end| end.min(certificate.ends));
        self.judge = Some(Arc::clone(judge));
        self.judged_until = valid.then_some(ends);
        self.wind();
    }

    fn is_over(&self) -> bool {
        self.over.is_some_and(|over| over <= Instant::now())
    }

    fn is_judged_anew(&self) -> bool {
        self.judged_until
            .is_some_and(|until| until <= SystemTime::now())
    }

    /// For what is still to come.
    fn wind(&mut self) {
        let now = Instant::now();
        let judged = self.judged_until.and_then(|until| {
            let left = until.duration_since(SystemTime::now()).ok()?;
            Some(now + left.min(STEP) + TICK)
        });
        let over = self.over.filter(|over| *over > now);
        let next = judged.into_iter().chain(over).min();
        self.alarm = next.map(|at| Box::pin(sleep_until(at)));
    }
}

/// The wall clock is looked at in steps, for it may be set.
const STEP: Duration = Duration::from_secs(60);
/// A timer may be early by its resolution.
const TICK: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    fn certificate(ends: SystemTime) -> Certificate {
        Certificate {
            dns: vec!["shop.example.com".to_owned()],
            uri: Vec::new(),
            cn: None,
            sha256: [1; 32],
            issuers: Vec::new(),
            ends,
            validity: Validity::Valid,
            chain: Vec::new(),
        }
    }

    async fn due(term: &mut Term, within: Duration) -> bool {
        timeout(within, poll_fn(|cx| term.poll(cx))).await.is_ok()
    }

    #[test]
    fn a_session_with_neither_certificate_nor_longest_time_carries_a_word() {
        assert_eq!(size_of::<Term>(), size_of::<usize>());
        let mut term = Term::of(None, &Arc::default());
        term.last_until(None);
        assert!(term.0.is_none() && !term.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lasts_as_long_as_it_may_and_is_told_once() {
        let mut term = Term::default();
        term.last_until(Some(Instant::now() + Duration::from_secs(3600)));
        assert!(!due(&mut term, Duration::from_secs(3599)).await);
        assert!(!term.is_over());
        assert!(due(&mut term, Duration::from_secs(2)).await);
        assert!(term.is_over());
        assert!(!due(&mut term, Duration::from_secs(3600)).await, "again");
        term.last_until(None);
        assert!(term.0.is_none(), "nothing is kept of it");
    }

    #[tokio::test]
    async fn a_certificate_is_judged_again_when_it_ends_and_when_others_vouch() {
        let ends = SystemTime::now() + Duration::from_millis(50);
        let (shown, judge) = (certificate(ends), Arc::default());
        let mut term = Term::of(Some(&shown), &judge);
        assert!(
            term.judge_again(&shown, &judge, SystemTime::now())
                .is_none()
        );
        assert!(due(&mut term, Duration::from_secs(5)).await);
        let now = SystemTime::now();
        assert!(now >= ends);
        let judged = term.judge_again(&shown, &judge, now).unwrap();
        assert_eq!(judged.validity, Validity::Untrusted, "nobody vouches");
        assert!(term.judge_again(&judged, &judge, now).is_none());
        let others = Arc::default();
        assert!(term.judge_again(&judged, &others, now).is_some());
        assert!(term.judge_again(&judged, &others, now).is_none());
    }
}
