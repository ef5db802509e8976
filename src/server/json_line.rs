//! An event as a line of JSON, in the log and in the audit. Floor 4.
//!
//! It is made in one piece and handed on whole: `tracing-subscriber`'s own goes through a formatter for every name, value and
//! quote, which cost a session as many instructions as its login did.

use std::fmt;

use jiff::Timestamp;
use serde::{Serializer as _, ser::SerializeMap};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Time, level and the event's own fields, flat. Spans are none of it.
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let line = line(Timestamp::now(), event).map_err(|_no_json| fmt::Error)?;
        writer.write_str(&line)
    }
}

fn line(time: Timestamp, event: &Event<'_>) -> serde_json::Result<String> {
    let mut line = Vec::with_capacity(USUAL);
    let mut json = serde_json::Serializer::new(&mut line);
    let mut map = json.serialize_map(None)?;
    map.serialize_entry("timestamp", &format_args!("{time:.6}"))?;
    map.serialize_entry("level", event.metadata().level().as_str())?;
    let mut fields = Fields {
        map,
        written: Ok(()),
    };
    event.record(&mut fields);
    fields.written?;
    fields.map.end()?;
    line.push(b'\n');
    String::from_utf8(line).map_err(serde::ser::Error::custom)
}

struct Fields<M: SerializeMap> {
    map: M,
    /// The first that failed.
    written: Result<(), M::Error>,
}

impl<M: SerializeMap> Fields<M> {
    fn write(&mut self, field: &Field, value: &(impl serde::Serialize + ?Sized)) {
        if self.written.is_ok() {
            self.written = self.map.serialize_entry(field.name(), value);
        }
    }
}

impl<M: SerializeMap> Visit for Fields<M> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, &format_args!("{value:?}"));
    }
}

/// Room for the line of most events, in bytes.
const USUAL: usize = 512;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::*;

    /// Keeps the lines of what is told.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            let time = Timestamp::from_microsecond(1_790_000_000_000_120).unwrap();
            self.0.lock().unwrap().push(line(time, event).unwrap());
        }
    }

    fn kept(tell: impl FnOnce()) -> String {
        let kept = Kept::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(kept.clone()), tell);
        let mut lines = kept.0.lock().unwrap();
        assert_eq!(lines.len(), 1);
        lines.pop().unwrap()
    }

    #[test]
    fn an_event_is_one_flat_line_in_the_order_of_its_fields() {
        let line = kept(|| {
            tracing::info!(
                event = "closed",
                origin = None::<&str>,
                r#ref = %"a1b2",
                ms = 7_u64,
                low = -1_i64,
                share = 0.5,
                whole = true,
                cause = ?Some("x"),
                "the end"
            );
        });
        assert_eq!(
            line,
            "{\"timestamp\":\"2026-09-21T14:13:20.000120Z\",\"level\":\"INFO\",\"message\":\"the end\",\
             \"event\":\"closed\",\"ref\":\"a1b2\",\"ms\":7,\"low\":-1,\"share\":0.5,\"whole\":true,\
             \"cause\":\"Some(\\\"x\\\")\"}\n"
        );
    }

    #[test]
    fn no_value_ends_its_line_or_its_quotes() {
        let text = "a\"b\\c\nd\u{0}e\u{2028}f\u{7f}";
        let line = kept(|| tracing::warn!(value = text, shown = %text, "{text}"));
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        for name in ["value", "shown", "message"] {
            assert_eq!(read[name], text);
        }
    }
}
