//! The log, in which whatever others wrote is text and nothing else.

use std::{
    fmt,
    io::{self, Write},
};

use clap::ValueEnum;
use tracing::{Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt as _,
    fmt::{
        MakeWriter,
        format::{Writer, debug_fn},
    },
};

use crate::foreign;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object a line
    Json,
}

/// What writes the log to `writer`. What can't be written is lost: there is no other place to tell it.
pub(super) fn subscriber(
    format: LogFormat,
    filter: EnvFilter,
    colours: bool,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Box<dyn Subscriber + Send + Sync> {
    let log = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    match format {
        LogFormat::Text => {
            let log = log.fmt_fields(debug_fn(write_field).delimited(" "));
            Box::new(log.with_ansi(colours).with_writer(writer).finish())
        }
        LogFormat::Json => {
            Box::new(log.json().flatten_event(true).with_writer(Harmless(writer)).finish())
        }
    }
}

/// Writes a field of an entry, or its message, on the entry's one line.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let value = foreign::line(&value);
    match field.name() {
        "message" => writer.write_str(&value),
        name => write!(writer, "{name}={value}"),
    }
}

/// Lets nothing of JSON out that can't be seen; an entry comes in one piece.
struct Harmless<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Harmless<M> {
    type Writer = Harmless<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Harmless(self.0.make_writer())
    }
}

impl<W: Write> Write for Harmless<W> {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.0.write_all(foreign::json(&String::from_utf8_lossy(entry)).as_bytes())?;
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat) -> String {
        let written = Written::default();
        let writer = written.clone();
        let log = subscriber(format, EnvFilter::new("info"), false, move || writer.clone());
        tracing::subscriber::with_default(log, || {
            let name = "evil\u{1b}[2J\nready\u{202e}";
            let error = io::Error::other(name);
            tracing::warn!(%name, ?error, word = name, number = 7, "lost {name}");
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_entry_is_one_line_and_no_command_to_a_terminal_whatever_names_hold() {
        let text = written(LogFormat::Text);
        let evil = r"evil\u{1b}[2J\nready\u{202e}";
        let fields =
            format!(r#"lost {evil} name={evil} error=Custom {{ kind: Other, error: "{evil}" }}"#);
        let end = format!("{fields} word=\"{evil}\" number=7\n");
        assert!(text.ends_with(&end), "{text}");
        assert_eq!(foreign::lines(&text), text);
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn an_entry_of_json_is_one_line_and_can_be_seen_whatever_names_hold() {
        let text = written(LogFormat::Json);
        assert_eq!((foreign::lines(&text).as_ref(), text.lines().count()), (text.as_str(), 1));
        let entry: Value = serde_json::from_str(&text).unwrap();
        for field in ["message", "name", "error", "word"] {
            let shown = entry[field].as_str().unwrap();
            assert_eq!(foreign::line(shown), shown);
            assert!(shown.contains("evil") && shown.contains("ready"), "{shown}");
        }
        assert_eq!(entry["number"], 7);
    }
}
