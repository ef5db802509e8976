//! The log: one line per event to the standard error, never at the cost of a session. Floor 4.
//!
//! Lines go through a bounded channel to a thread of their own. When whoever reads them does not keep up, lines are
//! dropped and counted; nobody waits.

use std::{
    fmt, fs,
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::MetadataExt,
    panic,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterExt as _, dynamic_filter_fn, filter_fn},
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{Format, Full, Writer},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

use super::{audit::Audit, json_line::JsonLine};
use crate::{
    config::{Log, LogFormat},
    session::{AUDIT, AUDIT_ONLY},
};

/// The running log.
#[derive(Clone, Debug)]
pub struct Logging {
    level: Option<reload::Handle<LevelFilter, Registry>>,
    sink: Sink,
    audit: Audit,
}

impl Logging {
    /// Begins. `journal` is what the environment says of a journal at the standard error (`JOURNAL_STREAM`). Only the
    /// first log of a process is written.
    pub fn start(log: Log, journal: Option<&str>) -> Self {
        let sink = Sink::to(io::stderr());
        let (level, handle) = reload::Layer::new(LevelFilter::from_level(log.level));
        let of_the_log = filter_fn(|event| event.target() != AUDIT_ONLY);
        let lines = match Style::choose(log.format, journal) {
            Style::Json => tracing_subscriber::fmt::layer()
                .event_format(JsonLine)
                .with_writer(sink.clone())
                .boxed(),
            Style::Text { color } => tracing_subscriber::fmt::layer()
                .with_target(false)
                .with_ansi(color)
                .with_writer(sink.clone())
                .boxed(),
            Style::Journal => tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .event_format(ForJournal::default())
                .with_writer(sink.clone())
                .boxed(),
        };
        let audit = Audit::default();
        let of_the_audit = filter_fn(|event| [AUDIT, AUDIT_ONLY].contains(&event.target()));
        let kept = dynamic_filter_fn({
            let audit = audit.clone();
            move |_event, _context| audit.takes()
        });
        let audited = tracing_subscriber::fmt::layer()
            .event_format(JsonLine)
            .with_writer(audit.clone())
            .with_filter(of_the_audit.and(kept));
        let begun = tracing_subscriber::registry()
            .with(lines.with_filter(level.and(of_the_log)))
            .with(audited)
            .try_init();
        panic::set_hook(Box::new(log_panic));
        Self {
            level: begun.ok().map(|()| handle),
            sink,
            audit,
        }
    }

    /// For tests: writes nothing, and leaves the process's own log and panics as they are.
    #[cfg(test)]
    pub(super) fn unheard() -> Self {
        Self {
            level: None,
            sink: Sink::to(io::sink()),
            audit: Audit::default(),
        }
    }

    /// From now on only events of this level and above.
    pub fn level(&self, level: Level) {
        if let Some(handle) = &self.level {
            // fails only when the subscriber is gone, and with it the log
            let _gone = handle.reload(LevelFilter::from_level(level));
        }
    }

    /// The audit beside it.
    pub(super) const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// How many lines were dropped since this was asked last.
    pub fn dropped(&self) -> u64 {
        self.sink.dropped.swap(0, Ordering::Relaxed)
    }

    /// Waits until everything so far is written, at most a second.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.sink.lines.try_send(Message::Flush(done)).is_ok() {
            let _late = written.recv_timeout(Duration::from_secs(1));
        }
        self.audit.flush();
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Json,
    Text {
        color: bool,
    },
    /// Without a time, and with the level as the journal reads it.
    Journal,
}

impl Style {
    fn choose(format: LogFormat, journal: Option<&str>) -> Self {
        let terminal = io::stderr().is_terminal();
        match format {
            LogFormat::Auto if journal.is_some_and(is_stderr) => Self::Journal,
            LogFormat::Auto if terminal => Self::Text { color: true },
            LogFormat::Text => Self::Text { color: terminal },
            LogFormat::Auto | LogFormat::Json => Self::Json,
        }
    }
}

/// Whether `device:inode` names the standard error. A child whose output goes elsewhere inherits the variable, too
/// (systemd.exec(5), `$JOURNAL_STREAM`).
fn is_stderr(device_and_inode: &str) -> bool {
    fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stderr| device_and_inode == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// Text with the prefix of sd-daemon(3), by which the journal knows the level.
#[derive(Default)]
struct ForJournal(OnceLock<Format<Full, ()>>);

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        writer.write_str(match level {
            Level::ERROR => "<3>",
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            Level::DEBUG | Level::TRACE => "<7>",
        })?;
        let format = || {
            Format::default()
                .without_time()
                .with_target(false)
                .with_level(false)
        };
        self.0
            .get_or_init(format)
            .format_event(context, writer, event)
    }
}

/// Takes lines without ever waiting.
#[derive(Clone, Debug)]
struct Sink {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Sink {
    fn to(out: impl io::Write + Send + 'static) -> Self {
        let (lines, received) = sync_channel(WAITING_LINES);
        // without a thread, every line is dropped and counted
        let _thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&received, out));
        Self {
            lines,
            dropped: Arc::default(),
        }
    }
}

/// Writes what has gathered in one go: to be woken for every line would cost a busy gateway a tenth of its time.
fn write_lines(lines: &Receiver<Message>, mut out: impl io::Write) {
    let mut batch = Vec::new();
    while let Ok(first) = lines.recv() {
        thread::sleep(GATHERING);
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::Flush(done) => {
                    write_out(&mut batch, &mut out);
                    let _unflushed = out.flush();
                    let _nobody_waits = done.try_send(());
                }
            }
            if batch.len() >= LARGEST_BATCH {
                write_out(&mut batch, &mut out);
            }
            next = lines.try_recv().ok();
        }
        write_out(&mut batch, &mut out);
    }
}

/// A full disk or a closed pipe is nobody's error here: the next lines may fit again.
fn write_out(batch: &mut Vec<u8>, out: &mut impl io::Write) {
    if !batch.is_empty() {
        drop(out.write_all(batch));
        batch.clear();
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl io::Write for &Sink {
    /// One event is one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says where; what it says of values may come from a client, so it is escaped and short.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or_default();
    let text: String = text
        .chars()
        .take(LONGEST_PANIC)
        .flat_map(char::escape_debug)
        .collect();
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    tracing::error!(event = "panic", at = place, cause = text);
    if tracing::dispatcher::get_default(tracing::Dispatch::is::<tracing::subscriber::NoSubscriber>)
    {
        let _closed = writeln!(io::stderr(), "panic at {place}: {text}");
    }
}

/// How long lines gather before they are written.
const GATHERING: Duration = Duration::from_millis(5);
/// Bytes that are written at once.
const LARGEST_BATCH: usize = 16 * 1024;
/// Lines that may wait for the writer.
const WAITING_LINES: usize = 8192;
const LONGEST_PANIC: usize = 200;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that never reads until it is let go.
    struct Stuck(Receiver<()>);

    impl io::Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _let_go = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_keep_up_costs_lines_and_no_waiting() {
        let (let_go, stuck) = mpsc::channel();
        let sink = Sink::to(Stuck(stuck));
        let in_hands = LARGEST_BATCH / b"line\n".len() + 1;
        for _ in 0..WAITING_LINES + in_hands + 100 {
            (&sink).write_all(b"line\n").unwrap();
        }
        let dropped = sink.dropped.load(Ordering::Relaxed);
        // at most one batch is in the writer's hands
        assert!(
            (100..=100 + in_hands as u64).contains(&dropped),
            "{dropped}"
        );
        drop(let_go);
    }

    #[test]
    fn the_journal_is_recognised_by_its_socket_and_not_by_the_variable_alone() {
        assert!(!is_stderr("0:0"));
        let stderr = fs::metadata("/proc/self/fd/2").unwrap();
        assert!(is_stderr(&format!("{}:{}", stderr.dev(), stderr.ino())));
        assert_eq!(Style::choose(LogFormat::Json, None), Style::Json);
    }
}
