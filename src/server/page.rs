//! The status page: one file without outside resources, and the figures that it draws. Floor 4.
//!
//! The page is made of the three files in `page/`, and nothing in it ever changes: what it shows it asks for and sets as text. Its
//! content security policy names its own style and script by their hashes, so nothing else can be run in it, whatever a client is
//! called.

use std::{sync::LazyLock, time::SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{
    house::House,
    latency::{self, HistoryAnswer, LatencyLine},
    people::{RefusalAnswer, SessionAnswer},
    status::{Status, rfc3339},
};
use crate::meter::LastHour;

/// The page, and what it may do.
pub(super) struct StatusPage {
    pub(super) html: String,
    pub(super) policy: String,
}

pub(super) static STATUS_PAGE: LazyLock<StatusPage> = LazyLock::new(|| {
    let (style, script) = (include_str!("page/page.css"), include_str!("page/page.js"));
    let page = include_str!("page/page.html");
    StatusPage {
        html: page
            .replacen("{style}", style, 1)
            .replacen("{script}", script, 1),
        policy: format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
            hash(style),
            hash(script)
        ),
    }
});

/// All that the page shows, bounded whatever the gateway has seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PageAnswer {
    /// The gateway's clock: RFC 3339, in UTC.
    now: String,
    status: Status,
    latency: Vec<LatencyLine>,
    /// Of the origins with anything to draw, those where most time goes.
    history: HistoryAnswer,
    /// The newest of the live ones, the newest first.
    sessions: Vec<SessionAnswer>,
    /// The latest of somebody known and the latest of strangers, the latest first.
    refused: Vec<RefusalAnswer>,
}

impl PageAnswer {
    pub(super) async fn of(house: &House) -> Self {
        let status = house.status().await;
        let now = SystemTime::now();
        let mut hours = house.gateway.meters.last_hours();
        hours.retain(|hour| spent(hour) > 0.0 || hour.points.iter().any(|one| one.rtt.is_some()));
        hours.sort_by(|a, b| spent(b).total_cmp(&spent(a)));
        hours.truncate(MOST_HOURS);
        let sessions = house.gateway.sessions();
        let newest = sessions.iter().rev().take(MOST_SESSIONS);
        let refused = house.gateway.latest_refusals(MOST_REFUSALS / 2);
        Self {
            now: rfc3339(now),
            status,
            latency: house.latency().items,
            history: latency::history(&hours),
            sessions: newest.map(|line| SessionAnswer::of(line, now)).collect(),
            refused: refused
                .iter()
                .map(|kept| RefusalAnswer::of(kept, None))
                .collect(),
        }
    }
}

/// Seconds of the hour that went somewhere.
fn spent(hour: &LastHour) -> f32 {
    let parts = hour.points.iter().map(|point| {
        point.database
            + point.network_client
            + point.network_upstream
            + point.transfer
            + point.request
    });
    parts.sum()
}

/// As a content security policy names a text.
fn hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    format!("sha256-{}", STANDARD.encode(hash.as_ref()))
}

/// An hour of an origin is some 15 kB of JSON.
const MOST_HOURS: usize = 100;
const MOST_SESSIONS: usize = 200;
const MOST_REFUSALS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_names_nothing_outside() {
        let page = &*STATUS_PAGE;
        for left in ["{style}", "{script}"] {
            assert!(!page.html.contains(left), "{left}");
        }
        // the namespace of its picture is a name and no address
        let html = page.html.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", "//cdn", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(page.html.len() < 64 * 1024, "{} bytes", page.html.len());
    }

    #[test]
    fn nothing_in_the_script_can_make_a_text_into_nodes() {
        let script = include_str!("page/page.js");
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "setHTML",
        ] {
            assert!(!script.contains(way), "{way}");
        }
    }

    #[test]
    fn the_policy_allows_the_page_its_own_style_and_script_and_no_other() {
        let page = &*STATUS_PAGE;
        let inside = |tag: &str| {
            let (_, rest) = page.html.split_once(&format!("<{tag}>")).unwrap();
            rest.split_once(&format!("</{tag}>")).unwrap().0
        };
        for tag in ["style", "script"] {
            let allowed = format!("{tag}-src '{}'", hash(inside(tag)));
            assert!(page.policy.contains(&allowed), "{allowed}: {}", page.policy);
            assert_eq!(page.html.matches(&format!("<{tag}")).count(), 1);
        }
        assert!(page.policy.starts_with("default-src 'none'"));
    }
}
