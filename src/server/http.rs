//! Metrics, health and the status page over HTTP. Floor 4: read-only, small, and never a way in.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, Version,
    body::{Body, Bytes},
    header::{self, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::{
    Tasks,
    house::House,
    page::{PageAnswer, STATUS_PAGE},
};

/// What the pages are made from.
pub(super) struct Pages {
    pub(super) house: Arc<House>,
    /// Whether the address we are bound to is loopback; then the Host header must name it, for a page of the web that
    /// resolves its own name to 127.0.0.1 must not read what it likes (DNS rebinding). Only there the status page is shown.
    pub(super) loopback: bool,
}

type Page = Response<Full<Bytes>>;

/// Serves for ever, at most [`MOST`] at a time, each within [`DEADLINE`].
pub(super) async fn serve(listener: TcpListener, pages: Arc<Pages>, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // the accept loops of the doors say what is wrong; here it is enough not to spin
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let pages = Arc::clone(&pages);
        tasks.spawn("http", async move {
            // too slow, gone or malformed: hyper has answered what there was to answer
            let _late_or_broken = timeout(DEADLINE, pages.answer_one(socket)).await;
            drop(place);
        });
    }
}

impl Pages {
    async fn answer_one(&self, socket: TcpStream) -> hyper::Result<()> {
        let answer =
            service_fn(|request| async move { Ok::<_, Infallible>(self.answer(&request).await) });
        http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(TokioIo::new(socket), answer)
            .await
    }

    async fn answer(&self, request: &Request<impl Body>) -> Page {
        if self.loopback && !names_loopback(request) {
            return text(
                StatusCode::FORBIDDEN,
                "only under the name localhost or a loopback address\n",
            );
        }
        let path = request.uri().path();
        let known = match path {
            "/metrics" | "/healthz" | "/readyz" => true,
            "/" | "/status.json" => self.loopback,
            _ => false,
        };
        if !known {
            return text(
                StatusCode::NOT_FOUND,
                if self.loopback {
                    "there are /, /status.json, /metrics, /healthz and /readyz\n"
                } else {
                    "there are /metrics, /healthz and /readyz\n"
                },
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut page = text(StatusCode::METHOD_NOT_ALLOWED, "read-only\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            page.headers_mut().insert(header::ALLOW, allowed);
            return page;
        }
        if !request.body().is_end_stream() {
            return text(StatusCode::BAD_REQUEST, "no body is taken\n");
        }
        match path {
            "/metrics" => self.metrics(),
            "/readyz" => self.readiness().await,
            "/" => status_page(),
            "/status.json" => self.figures().await,
            _ => text(StatusCode::OK, "ok\n"),
        }
    }

    fn metrics(&self) -> Page {
        let (meters, logging) = (&self.house.gateway.meters, &self.house.logging);
        meters.log_events_dropped("stderr", logging.dropped());
        meters.log_events_dropped("audit", logging.audit().dropped());
        match meters.render() {
            Ok(bytes) => page(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                bytes,
            ),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }

    /// What the status page draws.
    async fn figures(&self) -> Page {
        match serde_json::to_vec(&PageAnswer::of(&self.house).await) {
            Ok(bytes) => page(StatusCode::OK, "application/json", bytes),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }

    /// Ready: a configuration is in force, every upstream takes connections, and the end has not begun.
    async fn readiness(&self) -> Page {
        self.house.doors.ask().await;
        let mut ready = true;
        let mut lines = String::new();
        let mut line = |good: bool, what: &str| {
            ready &= good;
            lines.push_str(if good { "ok    " } else { "NOT   " });
            lines.push_str(what);
            lines.push('\n');
        };
        {
            let standing = self.house.gateway.standing.borrow();
            let generation = standing.policy.generation();
            line(true, &format!("configuration: generation {generation}"));
            line(standing.closing.is_none(), "accepting connections");
        }
        for door in self.house.doors.iter() {
            let name = &door.settings.name;
            line(
                door.meters.upstream_is_up() == Some(true),
                &format!("upstream of listener {name}"),
            );
        }
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        text(status, &lines)
    }
}

/// Whether the request asks for a name or address of this machine's loopback. HTTP/1.0 needs no Host header, and no
/// browser speaks it.
fn names_loopback<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        return request.version() == Version::HTTP_10;
    };
    hosts.next().is_none() && host.to_str().is_ok_and(is_loopback)
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

fn status_page() -> Page {
    let told = &*STATUS_PAGE;
    let mut page = page(
        StatusCode::OK,
        "text/html; charset=utf-8",
        told.html.clone().into(),
    );
    // it is of hashes and constants
    if let Ok(policy) = HeaderValue::from_str(&told.policy) {
        page.headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    page
}

fn text(status: StatusCode, text: &str) -> Page {
    page(status, "text/plain; charset=utf-8", text.to_owned().into())
}

fn page(status: StatusCode, kind: &'static str, bytes: Vec<u8>) -> Page {
    let mut page = Response::new(Full::new(Bytes::from(bytes)));
    *page.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        page.headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    page
}

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
/// Connections at a time.
const MOST: usize = 16;
/// From accept to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// The request line and headers; hyper's least.
const LARGEST_HEAD: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_web_cannot_ask_under_its_own_name() {
        for host in [
            "localhost",
            "LOCALHOST:9432",
            "127.0.0.1:9432",
            "127.8.9.1",
            "[::1]:9432",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "attacker.example:9432",
            "localhost.attacker.example",
            "192.0.2.1",
            "[2001:db8::1]:9432",
            "",
            "[",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
        let asks = |host: Option<&str>, version| {
            let mut request = Request::builder().version(version);
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            names_loopback(&request.body(()).unwrap())
        };
        assert!(asks(None, Version::HTTP_10));
        assert!(!asks(None, Version::HTTP_11));
        assert!(!asks(Some("attacker.example"), Version::HTTP_10));
    }
}
